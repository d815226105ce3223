"""Code that only the book uses: figures, claims and their verdicts, the report, explorers."""

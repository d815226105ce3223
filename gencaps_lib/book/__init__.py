"""What only the book needs: figures, claims and their verdicts, the report, explorers."""

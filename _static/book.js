// Docutils gives the entries of a bibliography a role that ARIA has withdrawn; what a list holds are items.
document.addEventListener("DOMContentLoaded", () => {
  for (const entry of document.querySelectorAll('.citation-list > [role="doc-biblioentry"]')) {
    entry.setAttribute("role", "listitem");
  }
});

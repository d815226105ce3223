// Docutils gives the entries of a bibliography a role that ARIA has withdrawn; what a list holds are items.
document.addEventListener("DOMContentLoaded", () => {
  for (const entry of document.querySelectorAll('.citation-list > [role="doc-biblioentry"]')) {
    entry.setAttribute("role", "listitem");
  }
});

// The theme lets a keyboard reach what scrolls in a cell's output, but not the same table where another page shows it.
addEventListener("load", () => {
  for (const table of document.querySelectorAll(".gencaps-table")) {
    if (!table.closest(".cell_output") && table.scrollWidth > table.clientWidth) table.tabIndex = 0;
  }
});

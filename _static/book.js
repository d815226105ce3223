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

// A folded cell is called by its title, as in Colab: "Solution", not "Show code cell content".
document.addEventListener("DOMContentLoaded", () => {
  for (const fold of document.querySelectorAll(".cell details.hide")) {
    const [, title] = fold.querySelector(".cell_input pre")?.textContent.match(/^# @title (.+?) \{ display-mode/) ?? [];
    if (!title) continue;
    for (const label of fold.querySelectorAll("summary .admonition-title")) {
      label.textContent = /source/.test(label.textContent) ? `Code: ${title}` : title;
    }
    fold.querySelector("summary").removeAttribute("aria-label");
  }
});

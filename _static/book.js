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

// On a phone, a table with sentences in its cells shows each row as a block, and in it each cell below its column's name
// (see the style sheet). Laid out so, it is a table to a screen reader only if that is said.
document.addEventListener("DOMContentLoaded", () => {
  for (const table of document.querySelectorAll(".gencaps-table > table")) {
    const cells = [...table.querySelectorAll("tbody td")];
    if (!cells.some((cell) => cell.textContent.length > 40)) continue;
    const names = [...table.querySelectorAll("thead th")].map((name) => name.textContent);
    for (const cell of cells) cell.dataset.column = names[cell.cellIndex];
    table.classList.add("gencaps-stacked");
    const roles = { table: "table", "thead, tbody": "rowgroup", tr: "row", th: "columnheader", td: "cell" };
    for (const [selector, role] of Object.entries(roles)) {
      for (const part of [table, ...table.querySelectorAll("*")]) if (part.matches(selector)) part.setAttribute("role", role);
    }
  }
});

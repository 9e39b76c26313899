// Tables of the class "sortable" are sorted by the column of a clicked heading, and in reverse by a second click: by
// number where a cell starts with one, else by text. Empty cells and "-" are last in both orders.
document.querySelectorAll("table.sortable").forEach(table => table.querySelectorAll("th button").forEach((button, column) => {
  button.addEventListener("click", () => {
    const head = button.parentNode, direction = head.ariaSort === "ascending" ? -1 : 1;
    table.querySelectorAll("th").forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
    const key = row => {
      const cell = row.cells[column], text = cell.dataset.order ?? cell.textContent.trim();
      return {text, missing: text === "" || text === "-", number: /^[+-]?(\d|\.\d|inf)/i.test(text) ? parseFloat(text.replace(/inf$/, "Infinity")) : NaN};
    };
    const compare = (a, b) => {
      if (a.missing || b.missing) return a.missing - b.missing;
      const both = !isNaN(a.number) && !isNaN(b.number) && a.number !== b.number;
      return direction * (both ? (a.number < b.number ? -1 : 1) : a.text.localeCompare(b.text, undefined, {numeric: true}));
    };
    const rows = [...table.rows].slice(1).map(row => ({row, key: key(row)}));
    rows.sort((a, b) => compare(a.key, b.key)).forEach(({row}) => row.parentNode.append(row));
  });
}));

// Draw the charts, make the tables sortable, and link the checkboxes to the highlighted runs.
const views = [];
const highlighted = new Set();

function highlight(run, on) {
  highlighted[on ? "add" : "delete"](run);
  for (const box of document.querySelectorAll("input[data-run]")) {
    if (box.dataset.run === run) box.checked = on;
  }
  for (const view of views) {
    const shown = view.known.filter((name) => highlighted.has(name));
    view.signal("shown", shown).runAsync();
  }
}

for (const box of document.querySelectorAll("input[data-run]:checked")) {
  highlighted.add(box.dataset.run);
}
for (const box of document.querySelectorAll("input[data-run]")) {
  box.checked = highlighted.has(box.dataset.run);
}
document.addEventListener("change", (event) => {
  const run = event.target.dataset.run;
  if (run !== undefined) highlight(run, event.target.checked);
});

const options = {
  renderer: "svg",
  actions: { export: true, source: false, compiled: false, editor: false },
};
for (const figure of document.querySelectorAll(".charts figure")) {
  const spec = JSON.parse(figure.querySelector("script").textContent);
  vegaEmbed(figure.querySelector(".chart"), spec, options).then(({ view }) => {
    const parameter = (spec.params ?? []).find((one) => one.name === "shown");
    if (parameter === undefined) return;
    const domain = figure.closest("section").querySelectorAll(".chooser input");
    view.known = [...domain].map((box) => box.dataset.run);
    views.push(view);
    view.addEventListener("click", (event, item) => {
      const run = item?.datum?.run;
      if (run !== undefined) highlight(run, !highlighted.has(run));
    });
  });
}

for (const table of document.querySelectorAll("table.interactive")) {
  new DataTable(table, {
    paging: false,
    order: [],
    autoWidth: false,
    layout: {
      topStart: { buttons: [{ extend: "searchBuilder" }, { extend: "colvis", text: "Columns" }] },
      topEnd: "search",
      bottomStart: "info",
      bottomEnd: null,
    },
    language: { searchBuilder: { button: { 0: "Filter", _: "Filter (%d)" } } },
  });
}

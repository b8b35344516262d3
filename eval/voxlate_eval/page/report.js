"use strict";
// Tables: clicking a header sorts by its column: descending, ascending, then the original order.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const original = [...body.rows];
  [...table.tHead.rows[0].cells].forEach((header, column) => {
    header.querySelector("button").addEventListener("click", () => {
      const next = { none: "descending", descending: "ascending", ascending: "none" }[header.ariaSort || "none"];
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      if (next === "none") return body.append(...original);
      header.setAttribute("aria-sort", next);
      const key = (row) => row.cells[column].dataset.sort ?? row.cells[column].textContent.trim();
      const known = original.filter((row) => key(row) !== "" && key(row) !== "–");
      const sign = next === "ascending" ? 1 : -1;
      const numeric = known.every((row) => !Number.isNaN(Number(key(row))));
      known.sort((a, b) => sign * (numeric ? key(a) - key(b) : key(a).localeCompare(key(b))));
      body.append(...known, ...original.filter((row) => !known.includes(row)));
    });
  });
}

// Sentences: all content is inserted as text, never as markup.
const data = JSON.parse(document.getElementById("data").textContent);
const [direction, order, search, count, list, more] = ["direction", "order", "search", "count", "list", "more"].map((id) =>
  document.getElementById(id));
const PAGE = 25;
let shown = PAGE;
for (const set of data) direction.add(new Option(`${set.run} ${set.direction.replace("-", "→")} (${set.rows.length})`));

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

// Text in any language, with its own writing direction: the template has dir="auto".
function foreign(parts) {
  const made = document.getElementById("foreign").content.firstElementChild.cloneNode();
  made.append(...parts);
  return made;
}

function line(label, parts) {
  const paragraph = element("p");
  const words = foreign(parts.map(([kind, text]) => (kind ? element(kind, text) : text)));
  paragraph.append(element("b", label), " ", words);
  return paragraph;
}

function card(row) {
  const made = element("article");
  const header = element("header");
  header.append(foreign([row.id]), element("span", `chrF ${row.chrF.toFixed(1)}`));
  if (row.seconds !== undefined) header.append(element("span", `${row.seconds.toFixed(1)} s`));
  if (row.speaker) header.append(foreign([row.speaker]));
  made.append(header);
  if (row.source) made.append(line("source", [["", row.source]]));
  made.append(line("reference", row.of_reference), line("hypothesis", row.of_hypothesis));
  if (row.error) {
    const error = element("p", undefined, "error");
    error.append(foreign([row.error]));
    made.append(error);
  }
  if (row.audio) {
    const audio = element("audio");
    audio.controls = true;
    audio.preload = "none";
    audio.src = row.audio;
    made.append(audio);
  }
  return made;
}

function show() {
  const set = data[Math.max(direction.selectedIndex, 0)];
  if (!set) return;
  const wanted = search.value.trim().toLocaleLowerCase();
  const texts = (row) => `${row.id}\n${row.source ?? ""}\n${row.reference}\n${row.hypothesis}`.toLocaleLowerCase();
  const rows = set.rows.filter((row) => !wanted || texts(row).includes(wanted));
  if (order.value !== "file") rows.sort((a, b) => (order.value === "worst" ? a.chrF - b.chrF : b.chrF - a.chrF));
  list.replaceChildren(...rows.slice(0, shown).map(card));
  count.textContent = `${rows.length} of ${set.rows.length}`;
  more.hidden = rows.length <= shown;
}

for (const control of [direction, order, search]) {
  control.addEventListener("input", () => { shown = PAGE; show(); });
}
more.addEventListener("click", () => { shown += 4 * PAGE; show(); });
show();

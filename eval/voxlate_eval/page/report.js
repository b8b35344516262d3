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
const get = (id) => document.getElementById(id);
const [direction, order, search, count, list, more] = ["direction", "order", "search", "count", "list", "more"].map(get);
const [lowest, highest, shortest, longest, differ] = ["lowest", "highest", "shortest", "longest", "differ"].map(get);
const PAGE = 25;
let shown = PAGE;
for (const set of data) direction.add(new Option(`${set.direction.replace("-", "→")} (${set.rows.length})`));

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

// Text in any language, with its own writing direction: the template has dir="auto".
function foreign(parts) {
  const made = get("foreign").content.firstElementChild.cloneNode();
  made.append(...parts);
  return made;
}

function line(label, parts) {
  const paragraph = element("p");
  const words = foreign(parts.map(([kind, text]) => (kind ? element(kind, text) : text)));
  const name = element("b");
  name.append(foreign([label]));
  paragraph.append(name, words);
  return paragraph;
}

function output(name, found) {
  const label = name ? `${name} · chrF ${found ? found.chrF.toFixed(1) : "–"}` : "hypothesis";
  const made = element("div");
  if (found?.text) made.append(line(label, found.marked));
  else made.append(line(label, [["i", found ? "no text" : "not in this run"]]));
  if (found?.error) {
    const error = element("p", undefined, "error");
    error.append(foreign([found.error]));
    made.append(error);
  }
  return made;
}

function card(set, row) {
  const made = element("article");
  const header = element("header");
  header.append(foreign([row.id]), element("span", `chrF ${row.chrF.toFixed(1)}`));
  if (row.seconds !== undefined) header.append(element("span", `${row.seconds.toFixed(1)} s`));
  if (row.speaker) header.append(foreign([row.speaker]));
  made.append(header);
  if (row.source) made.append(line("source", [["", row.source]]));
  const alone = row.outputs.length === 1;
  made.append(line("reference", alone ? row.outputs[0].of_reference : [["", row.reference]]));
  const systems = element("div", undefined, alone ? "" : "systems");
  systems.append(...row.outputs.map((found, number) => output(set.systems[number], found)));
  made.append(systems);
  if (row.audio) {
    const audio = element("audio");
    audio.controls = true;
    audio.preload = "none";
    audio.src = row.audio;
    made.append(audio);
  }
  return made;
}

const known = (row) => row.outputs.filter((found) => found);
const isDifferent = (row) => new Set(row.outputs.map((found) => found?.text)).size > 1;
const spread = (row) => Math.max(...known(row).map((found) => found.chrF)) - row.chrF;
const ORDERS = {
  worst: (a, b) => a.chrF - b.chrF,
  best: (a, b) => b.chrF - a.chrF,
  spread: (a, b) => spread(b) - spread(a),
};

function isWithin(value, low, high) {
  return !(low.value !== "" && value < Number(low.value)) && !(high.value !== "" && value > Number(high.value));
}

function show() {
  const set = data[Math.max(direction.selectedIndex, 0)];
  if (!set) return;
  const several = set.systems.length > 1;
  get("differ-label").hidden = !several;
  order.querySelector("[value=spread]").hidden = !several;
  const wanted = search.value.trim().toLocaleLowerCase();
  const texts = (row) =>
    [row.id, row.source ?? "", row.reference, ...known(row).map((found) => found.text)].join("\n").toLocaleLowerCase();
  const rows = set.rows.filter((row) =>
    isWithin(row.chrF, lowest, highest) && isWithin(row.length, shortest, longest) &&
    (!several || !differ.checked || isDifferent(row)) && (!wanted || texts(row).includes(wanted)));
  if (ORDERS[order.value]) rows.sort(ORDERS[order.value]);
  list.replaceChildren(...rows.slice(0, shown).map((row) => card(set, row)));
  count.textContent = `${rows.length} of ${set.rows.length}`;
  more.hidden = rows.length <= shown;
}

for (const control of [direction, order, search, lowest, highest, shortest, longest, differ]) {
  control.addEventListener("input", () => { shown = PAGE; show(); });
}
more.addEventListener("click", () => { shown += 4 * PAGE; show(); });
show();

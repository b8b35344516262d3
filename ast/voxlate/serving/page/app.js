// The page: choose a language and a model, then drop, choose or record files.

import { apiKey, fetchModels } from "./client.js";
import { announce, element, get, languageName, size } from "./dom.js";
import { Queue } from "./queue.js";
import { record } from "./recorder.js";

const CHOSEN = "voxlate-choice";
const [language, model] = [get("language"), get("model")];
const queue = new Queue(() => ({ language: language.value, model: model.value }), lock);
let models = [];
const early = []; // files that came before the models were known
let recording = null;

function showNotice(message, isMild = false) {
  get("notice").classList.toggle("mild", isMild);
  get("notice").textContent = message;
  get("notice").hidden = !message;
}

// Models and languages

async function loadModels() {
  try {
    models = await fetchModels();
  } catch (error) {
    if (error.status === 401) return lock(error.message);
    showNotice(error.message, error.retrySeconds !== undefined);
    setTimeout(loadModels, 1000 * (error.retrySeconds ?? 3));
    return false;
  }
  showNotice(models.length ? "" : "The server has no model that translates.");
  const last = remembered();
  model.replaceChildren(...models.map(({ name }) => element("option", { value: name }, name)));
  if (models.some(({ name }) => name === last.model)) model.value = last.model;
  showLanguages(last.language);
  setEnabled(models.length > 0);
  get("forget").hidden = !apiKey.get();
  get("locked").hidden = true;
  document.body.classList.add("ready");
  queue.resume();
  for (const [files, seconds] of early.splice(0)) add(files, seconds);
  return true;
}

function remembered() {
  try {
    return JSON.parse(localStorage.getItem(CHOSEN)) ?? {};
  } catch {
    return {};
  }
}

function showLanguages(wanted) {
  const codes = models.find(({ name }) => name === model.value)?.languages ?? [];
  const named = codes.map((code) => [languageName(code), code]).sort(([a], [b]) => a.localeCompare(b));
  language.replaceChildren(...named.map(([name, code]) => element("option", { value: code }, name)));
  const own = navigator.language.split("-")[0];
  language.value = [wanted, own, "en", codes[0]].find((code) => codes.includes(code)) ?? "";
  queue.choiceChanged();
}

function setEnabled(isEnabled) {
  for (const control of [language, model, get("choose"), get("record"), get("files")]) control.disabled = !isEnabled;
}

function remember() {
  try {
    localStorage.setItem(CHOSEN, JSON.stringify({ language: language.value, model: model.value }));
  } catch { /* the browser stores nothing */ }
  queue.choiceChanged();
}

model.addEventListener("input", () => { showLanguages(language.value); remember(); });
language.addEventListener("input", remember);

// The API key

function lock(message) {
  queue.pause();
  setEnabled(models.length > 0);
  get("key-message").textContent = apiKey.get() ? message : "Whoever runs this server can give you one.";
  get("key-message").classList.toggle("error", Boolean(apiKey.get()));
  apiKey.forget();
  get("forget").hidden = true;
  get("locked").hidden = false;
  get("key").focus();
  return false;
}

get("locked").addEventListener("submit", async (event) => {
  event.preventDefault();
  apiKey.set(get("key").value.trim());
  if (await loadModels()) {
    get("key").value = "";
    get("choose").focus();
    announce("Connected");
  }
});

get("forget").addEventListener("click", () => {
  apiKey.forget();
  lock("");
});

// Files: chosen, dropped or pasted

function add(files, seconds) {
  const choice = { language: language.value, model: model.value };
  if (!files.length) return;
  if (!choice.language) {
    if (!models.length) early.push([files, seconds]);
    return;
  }
  queue.add(files.map((file) => ({ file, name: file.name, seconds, ...choice })));
  announce(files.length === 1 ? `${files[0].name}, ${size(files[0].size)}` : `${files.length} files`);
}

get("choose").addEventListener("click", () => get("files").click());
get("files").addEventListener("change", () => {
  add([...get("files").files]);
  get("files").value = ""; // so that the same file can be chosen again
});

// All files of what was dropped, those in folders included.
async function droppedFiles(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return [...transfer.files];
  const found = await Promise.all(entries.map(filesOf));
  return found.flat();
}

async function filesOf(entry) {
  if (entry.isFile) return [await new Promise((resolve, reject) => { entry.file(resolve, reject); })];
  const reader = entry.createReader();
  const found = [];
  for (;;) { // a reader returns its entries in portions
    const portion = await new Promise((resolve, reject) => { reader.readEntries(resolve, reject); });
    if (!portion.length) break;
    found.push(...portion.filter(({ name }) => !name.startsWith(".")));
  }
  found.sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
  return (await Promise.all(found.map(filesOf))).flat();
}

let depth = 0; // of elements under the pointer
const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
const showDrop = () => document.body.classList.toggle("dropping", depth > 0);

addEventListener("dragenter", (event) => { if (hasFiles(event)) { depth += 1; showDrop(); } });
addEventListener("dragleave", (event) => { if (hasFiles(event)) { depth -= 1; showDrop(); } });
addEventListener("dragover", (event) => { if (hasFiles(event)) event.preventDefault(); });
addEventListener("drop", async (event) => {
  depth = 0;
  showDrop();
  if (!hasFiles(event)) return;
  event.preventDefault();
  add(await droppedFiles(event.dataTransfer));
});
addEventListener("paste", (event) => {
  const files = [...(event.clipboardData?.files ?? [])];
  if (files.length) add(files);
});

// The microphone

function showRecording(isRecording) {
  get("recording").hidden = !isRecording;
  get("sources").hidden = isRecording;
}

get("record").addEventListener("click", async () => {
  showNotice("");
  get("record").disabled = true;
  try {
    recording = await record();
    showRecording(true);
    get("stop").focus();
    announce("Recording");
  } catch (error) {
    showNotice(error.message);
  } finally {
    get("record").disabled = false;
  }
});

get("stop").addEventListener("click", async () => {
  const { file, seconds } = await recording.stop();
  recording = null;
  showRecording(false);
  add([file], seconds);
  get("record").focus();
});

get("discard").addEventListener("click", async () => {
  await recording.discard();
  recording = null;
  showRecording(false);
  get("record").focus();
  announce("The recording was discarded");
});

addEventListener("beforeunload", (event) => {
  if (queue.wouldBeLost || recording) event.preventDefault();
});

setEnabled(false);
loadModels();

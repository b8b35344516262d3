// The translation of one file: its sound, its segments, which can be corrected, and the files made from them.

import { clock, element, icon, languageName, setIcon } from "./dom.js";
import { Player } from "./player.js";
import { WRITERS } from "./subtitles.js";

const TYPES = { txt: "text/plain", srt: "application/x-subrip", vtt: "text/vtt", json: "application/json" };
const GROWS = CSS.supports("field-sizing", "content");

export class Transcript {
  // `job` is {file, name, language, model, seconds}; `onDuration` gets the seconds of a file that can be played.
  constructor(job, onDuration) {
    this.job = job;
    this.segments = [];
    this.isSaved = true;
    this.heading = element("h2", { tabIndex: -1, dir: "auto" }, job.name);
    this.state = element("span", { className: "state" });
    this.made = element("span");
    this.facts = element("p", { className: "facts" }, this.state, this.made);
    this.actions = element("div", { className: "actions" });
    this.error = element("p", { className: "error", dir: "auto", hidden: true });
    this.player = new Player(job.file, job.name, {
      duration: (seconds) => { this.showFacts(); onDuration(seconds); },
      time: (seconds) => this.mark(seconds),
      state: () => this.mark(this.player.time),
      unplayable: () => this.root.classList.add("unplayable"),
    });
    this.list = element("ol", { className: "segments" });
    this.pending = element("div", { className: "pending" }, element("i"), element("i"));
    this.list.setAttribute("aria-label", `Segments of ${job.name}`);
    this.empty = element("p", { className: "empty" });
    this.downloads = element("div", { className: "downloads", role: "group", ariaLabel: "Download" },
      ...Object.keys(WRITERS).map((format) => this.downloadButton(format)),
      ...(navigator.clipboard ? [this.copyButton()] : [])); // only https pages and localhost have one
    this.hint = element("p", { className: "note hint" }, "Any text can be corrected here. ",
      element("span", { className: "keys" }, element("kbd", {}, "Enter"), " goes to the next segment, ",
        element("kbd", {}, "Ctrl"), " ", element("kbd", {}, "Enter"), " plays it."));
    const title = element("div", { className: "title" }, element("div", {}, this.heading, this.facts), this.actions);
    const bar = element("div", { className: "bar" }, this.player.root, this.downloads);
    this.root = element("section", { className: "transcript" }, title, this.error, bar, this.list, this.pending,
      this.empty, this.hint);
    this.root.setAttribute("aria-label", job.name);
    this.showFacts();
    this.showDownloads();
  }

  get duration() {
    return this.player.duration ?? this.job.seconds ?? this.segments.at(-1)?.end ?? 0;
  }

  // Whether work would be lost: corrections, or the translation of more than a minute.
  get wouldBeLost() {
    const isLong = this.segments.length > 0 && this.duration > 60;
    return !this.isSaved && (isLong || this.segments.some((segment) => segment.text !== segment.original));
  }

  showFacts() {
    const seconds = this.player.duration ?? this.job.seconds;
    const facts = [languageName(this.job.language), this.job.model, ...(seconds ? [clock(seconds)] : [])];
    this.made.textContent = facts.join(" · ");
  }

  showError(message) {
    this.error.hidden = !message;
    this.error.textContent = message;
  }

  clear() {
    this.segments = [];
    this.isSaved = true;
    this.list.replaceChildren();
    this.showError("");
    this.showDownloads();
  }

  add({ start, end, text, words, warnings }) {
    const segment = { index: this.segments.length, start, end, text, words, original: text };
    const number = this.segments.push(segment);
    const play = element("button", { type: "button", className: "time" }, icon("play"),
      element("span", {}, clock(start, true)), element("span", { className: "until" }, clock(end, true)));
    play.setAttribute("aria-label", `Play from ${clock(start, true)}`);
    play.addEventListener("click", () => this.toggle(segment));
    segment.area = element("textarea", { rows: 1, value: text, dir: "auto", lang: this.job.language, spellcheck: true });
    segment.area.setAttribute("aria-label", `Segment ${number}, ${clock(start, true)} to ${clock(end, true)}`);
    segment.area.addEventListener("input", () => this.correct(segment));
    segment.area.addEventListener("keydown", (event) => this.handleKey(event, segment));
    segment.restore = element("button", { type: "button", className: "quiet restore", hidden: true }, icon("undo"));
    segment.restore.setAttribute("aria-label", `Restore segment ${number}`);
    segment.restore.title = "Restore the original text";
    segment.restore.addEventListener("click", () => {
      segment.area.value = segment.original;
      this.correct(segment);
      segment.area.focus();
    });
    const body = element("div", { className: "body" }, segment.area);
    for (const warning of warnings ?? []) body.append(element("p", { className: "warning" }, icon("warning"), warning));
    segment.row = element("li", {}, play, body, segment.restore);
    this.list.append(segment.row);
    this.isSaved = false;
    this.fit(segment.area);
    this.showDownloads();
  }

  correct(segment) {
    const isChanged = segment.area.value !== segment.original;
    segment.text = segment.area.value;
    segment.restore.hidden = !isChanged;
    segment.row.classList.toggle("changed", isChanged);
    this.isSaved = false;
    this.fit(segment.area);
  }

  // Browsers without `field-sizing` need the height of the text.
  fit(area) {
    if (GROWS) return;
    area.style.height = "auto";
    area.style.height = `${area.scrollHeight}px`;
  }

  fitAll() {
    for (const segment of this.segments) this.fit(segment.area);
  }

  handleKey(event, segment) {
    if (event.key !== "Enter" || event.isComposing || event.shiftKey) return;
    event.preventDefault();
    if (event.ctrlKey || event.metaKey) this.toggle(segment);
    else this.segments[segment.index + 1]?.area.focus();
  }

  isAt(segment, seconds) {
    const next = this.segments[segment.index + 1];
    return seconds >= segment.start - 0.05 && seconds < (next ? next.start - 0.05 : segment.end + 0.3);
  }

  toggle(segment) {
    if (!this.player.isPlayable) return;
    if (this.player.isPlaying && this.isAt(segment, this.player.time)) this.player.pause();
    else this.player.play(segment.start);
  }

  // Mark the segment that is being played.
  mark(seconds) {
    const { isPlaying } = this.player;
    const current = this.segments.find((segment) => this.isAt(segment, seconds));
    if (current === this.current && isPlaying === this.wasPlaying) return;
    for (const segment of [this.current, current]) {
      if (!segment) continue;
      const isCurrent = segment === current && (isPlaying || seconds > 0);
      segment.row.classList.toggle("current", isCurrent);
      setIcon(segment.row.querySelector(".time"), isCurrent && isPlaying ? "pause" : "play");
      if (isCurrent) segment.row.setAttribute("aria-current", "true");
      else segment.row.removeAttribute("aria-current");
    }
    const isTyping = this.list.contains(document.activeElement) && document.activeElement.matches("textarea");
    if (isPlaying && current && current !== this.current && !isTyping) current.row.scrollIntoView({ block: "nearest" });
    this.current = current;
    this.wasPlaying = isPlaying;
  }

  contents() {
    const { name, language, model } = this.job;
    return { name, language, model, seconds: this.duration, segments: this.segments };
  }

  showDownloads() {
    this.root.classList.toggle("without", this.segments.length === 0);
  }

  downloadButton(format) {
    const button = element("button", { type: "button" }, icon("download"), format.toUpperCase());
    button.setAttribute("aria-label", `Download ${format.toUpperCase()}`);
    button.addEventListener("click", () => {
      const blob = new Blob([WRITERS[format](this.contents())], { type: `${TYPES[format]};charset=utf-8` });
      const link = element("a", { href: URL.createObjectURL(blob), download: this.fileName(format) });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60000);
      this.isSaved = true;
    });
    return button;
  }

  // As `voxlate translate` names its files.
  fileName(format) {
    return `${this.job.name}.${this.job.language}.${format}`;
  }

  copyButton() {
    const label = element("span", {}, "Copy");
    const button = element("button", { type: "button" }, icon("copy"), label);
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(WRITERS.txt(this.contents()));
        label.textContent = "Copied";
        this.isSaved = true;
      } catch {
        label.textContent = "Not allowed";
      }
      setTimeout(() => { label.textContent = "Copy"; }, 2000);
    });
    return button;
  }

  close() {
    this.player.close();
    this.root.remove();
  }
}

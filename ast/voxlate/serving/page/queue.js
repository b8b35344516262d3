// The files to translate: a list in which each has its state, and two are sent at a time.

import { ServerError, translate } from "./client.js";
import { announce, clock, element, get, icon, languageName, setIcon } from "./dom.js";
import { Transcript } from "./transcript.js";

const AT_ONCE = 2;
const ACTIVE = ["uploading", "translating", "waiting again"];
const LABELS = {
  waiting: "Waiting", uploading: "Uploading", translating: "Translating", done: "Done", failed: "Failed",
  cancelled: "Cancelled",
};
const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

class Job {
  constructor(queue, { file, name, language, model, seconds }) {
    Object.assign(this, { queue, file, name, language, model, seconds });
    this.state = "waiting";
    this.sent = 0;
    this.message = "";
    this.transcript = new Transcript(this, (duration) => { this.seconds = duration; this.show(); });
    this.label = element("span", { className: "name", dir: "auto", title: name }, name);
    this.status = element("span", { className: "status" });
    this.progress = element("progress", { max: 1 });
    this.progress.setAttribute("aria-label", `Progress of ${name}`);
    this.select = element("button", { type: "button", className: "select" }, this.label, this.status);
    this.select.addEventListener("click", () => queue.show(this, true));
    this.end = element("button", { type: "button", className: "quiet" }, icon("close"));
    this.end.addEventListener("click", () => (this.isOver ? queue.remove(this) : this.cancel()));
    this.item = element("li", { className: "job" }, this.select, this.end, this.progress);
    this.again = this.action("again", "retry", () => this.restart());
    this.other = this.action("other", "translate", () => queue.add([{ ...this, language: queue.choice().language, model: queue.choice().model }]));
    this.stop = this.action("stop", "close", () => this.cancel());
    this.transcript.actions.append(this.stop, this.again, this.other);
    this.show();
  }

  action(name, symbol, act) {
    const label = { again: "Try again", stop: "Cancel", other: "" }[name];
    const button = element("button", { type: "button" }, icon(symbol), element("span", {}, label));
    button.addEventListener("click", act);
    return button;
  }

  get isActive() {
    return ACTIVE.includes(this.state);
  }

  get isOver() {
    return !this.isActive && this.state !== "waiting";
  }

  set(state, message = "") {
    Object.assign(this, { state, message });
    this.closePlayer();
    this.show();
    this.queue.changed();
  }

  // Unless it is shown, or its duration is still needed.
  closePlayer() {
    if (this.queue.shown !== this && !this.isActive) this.transcript.player.release();
    else if (this.queue.shown !== this) this.transcript.player.pause();
  }

  async start() {
    this.abort = new AbortController();
    this.transcript.player.open(); // for the duration
    this.sent = 0;
    this.transcript.clear();
    this.set("uploading");
    announce(`${this.name}: translating`);
    const on = {
      sent: (share) => {
        this.sent = share;
        if (share === 1 && this.state === "uploading") this.state = "translating";
        this.show();
      },
      segment: (segment) => {
        this.state = "translating";
        this.transcript.add(segment);
        this.show();
      },
    };
    try {
      const { duration, warnings } = await translate(this, on, this.abort.signal);
      this.seconds ??= duration;
      this.transcript.showFacts();
      this.set("done", (warnings ?? []).join("\n"));
      announce(`${this.name}: done, ${plural(this.transcript.segments.length, "segment")}`);
    } catch (error) {
      this.handle(error);
    }
  }

  handle(error) {
    if (error.name === "AbortError") {
      this.set("cancelled");
      announce(`${this.name}: cancelled`);
    } else if (!(error instanceof ServerError)) {
      this.fail(`The page failed: ${error.message}`);
      throw error;
    } else if (error.status === 401) {
      this.set("waiting");
      this.queue.onLocked(error.message);
    } else if (error.retrySeconds) {
      this.waitAndRestart(error);
    } else {
      this.fail(error.message);
    }
  }

  fail(message) {
    this.set("failed", message);
    announce(`${this.name}: ${message}`);
  }

  waitAndRestart({ message, retrySeconds }) {
    const due = performance.now() + 1000 * retrySeconds;
    announce(`${this.name}: ${message}`);
    const tick = () => {
      const rest = Math.ceil((due - performance.now()) / 1000);
      if (rest > 0) return this.set("waiting again", `${message} Next attempt in ${rest} s.`);
      clearInterval(this.timer);
      return this.start();
    };
    this.timer = setInterval(tick, 1000);
    tick();
  }

  cancel() {
    clearInterval(this.timer);
    if (this.state === "uploading" || this.state === "translating") this.abort.abort();
    else this.set("cancelled");
  }

  restart() {
    this.transcript.clear();
    this.set("waiting");
  }

  // The share that is done, or undefined if it is unknown.
  share() {
    if (this.state === "uploading") return this.sent;
    const last = this.transcript.segments.at(-1)?.end;
    return this.state === "translating" && last && this.seconds ? Math.min(1, last / this.seconds) : undefined;
  }

  describe() {
    const { segments } = this.transcript;
    const share = this.share();
    if (this.state === "uploading") return `Uploading ${Math.round(100 * share)} %`;
    if (this.state === "translating" && segments.length) {
      const last = clock(Math.min(segments.at(-1).end, this.seconds ?? Infinity));
      return this.seconds ? `Translated ${last} of ${clock(this.seconds)}` : `Translated ${last}`;
    }
    if (this.state === "waiting again") return "The server is busy";
    if (this.state === "done" && !segments.length) return "Done · no speech";
    if (this.state === "done") return `Done · ${plural(segments.length, "segment")}`;
    return LABELS[this.state];
  }

  show() {
    const { transcript } = this;
    const share = this.share();
    const target = languageName(this.language);
    this.item.dataset.state = this.state;
    transcript.root.dataset.state = this.state;
    this.status.textContent = `${target} · ${this.describe()}`;
    transcript.state.textContent = this.isActive || this.state === "waiting" ? `${this.describe()} …` : this.describe();
    this.progress.hidden = !this.isActive;
    if (share === undefined) this.progress.removeAttribute("value");
    else this.progress.value = share;
    this.end.setAttribute("aria-label", `${this.isOver ? "Remove" : "Cancel"} ${this.name}`);
    this.end.title = this.isOver ? "Remove" : "Cancel";
    setIcon(this.end, this.isOver ? "trash" : "close");
    this.stop.hidden = this.isOver;
    this.again.hidden = this.state !== "failed" && this.state !== "cancelled";
    transcript.showError(this.message);
    transcript.error.classList.toggle("mild", this.state !== "failed");
    transcript.empty.textContent = this.state === "done" && !transcript.segments.length
      ? "No speech was found in this file." : "";
    this.showOther();
  }

  // Offer the language and model that are chosen now, if they differ.
  showOther() {
    const { language, model } = this.queue.choice();
    const isSame = language === this.language && model === this.model;
    this.other.hidden = !this.isOver || isSame || !language;
    const target = languageName(language);
    this.other.querySelector("span").textContent =
      language === this.language ? `Translate with ${model}` : `Translate into ${target}`;
  }

  close() {
    this.cancelSilently();
    this.transcript.close();
    this.item.remove();
  }

  cancelSilently() {
    clearInterval(this.timer);
    this.abort?.abort();
  }
}

export class Queue {
  // `choice` returns the chosen {language, model}; `onLocked` is called with a message when the API key is refused.
  constructor(choice, onLocked) {
    Object.assign(this, { choice, onLocked, jobs: [], shown: null, isPaused: false });
    addEventListener("resize", () => this.shown?.transcript.fitAll());
  }

  // Add [{file, name, language, model, seconds?}] and show the first.
  add(files) {
    const jobs = files.map((file) => new Job(this, file));
    this.jobs.push(...jobs);
    get("jobs").append(...jobs.map((job) => job.item));
    if (jobs.length) this.show(jobs[0]);
    this.changed();
  }

  // Show the transcript of a job; `moves` also moves the focus and the view there.
  show(job, moves = false) {
    this.shown = job;
    for (const one of this.jobs) {
      if (one === job) one.select.setAttribute("aria-current", "true");
      else {
        one.select.removeAttribute("aria-current");
        one.closePlayer();
      }
    }
    get("results").replaceChildren(...(job ? [job.transcript.root] : []));
    job?.transcript.player.open();
    job?.transcript.fitAll();
    if (!moves) return;
    job.transcript.heading.focus({ preventScroll: true });
    if (matchMedia("(max-width: 60rem)").matches) job.transcript.root.scrollIntoView({ block: "start" });
  }

  remove(job) {
    if (job.transcript.wouldBeLost && !confirm(`Remove ${job.name}? Its translation was not downloaded.`)) return;
    const index = this.jobs.indexOf(job);
    this.jobs.splice(index, 1);
    job.close();
    const next = this.jobs[Math.min(index, this.jobs.length - 1)];
    if (this.shown === job) this.show(next ?? null);
    (next?.select ?? get("choose")).focus();
    this.changed();
  }

  // Start what can be started, and show the counts.
  changed() {
    document.body.classList.toggle("working", this.jobs.length > 0);
    const done = this.jobs.filter((job) => job.isOver).length;
    get("count").textContent = this.jobs.length > 1 ? `${done} of ${this.jobs.length} finished` : "";
    document.title = done < this.jobs.length ? `${done} of ${this.jobs.length} · Voxlate` : "Voxlate";
    if (this.isPaused) return;
    const active = this.jobs.filter((job) => job.isActive).length;
    const next = this.jobs.find((job) => job.state === "waiting");
    if (next && active < AT_ONCE) next.start();
  }

  pause() {
    this.isPaused = true;
  }

  resume() {
    this.isPaused = false;
    this.changed();
  }

  choiceChanged() {
    for (const job of this.jobs) job.showOther();
  }

  get wouldBeLost() {
    return this.jobs.some((job) => !job.isOver || job.transcript.wouldBeLost);
  }
}

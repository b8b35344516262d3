// Play a local file: a button, a slider and the speed. One plays at a time.

import { clock, element, icon, setIcon } from "./dom.js";

const SPEEDS = [0.75, 1, 1.25, 1.5, 2];
let playing = null;

export class Player {
  // `on.time` gets the position in seconds, `on.state` is called when playing starts or ends, `on.duration` gets the
  // seconds when they are known, and `on.unplayable` is called if the browser can't play the file.
  constructor(file, name, on) {
    this.url = URL.createObjectURL(file);
    this.audio = element("audio", { preload: "metadata" });
    this.button = element("button", { type: "button", className: "round primary", ariaLabel: "Play" }, icon("play"));
    this.slider = element("input", {
      type: "range", min: 0, max: 1, step: 0.1, value: 0, disabled: true, ariaLabel: `Position in ${name}`,
    });
    this.times = element("span", { className: "times" }, clock(0));
    this.speed = element("select", { ariaLabel: "Speed", className: "speed" },
      ...SPEEDS.map((speed) => element("option", { value: speed, selected: speed === 1 }, `${speed}×`)));
    this.root = element("div", { className: "player", role: "group", ariaLabel: `Player of ${name}` },
      this.button, this.slider, this.times, this.speed);
    this.on = on;
    this.duration = undefined;
    this.isPlayable = true;
    this.hasSound = file.size > 0;
    this.isOpen = false;
    this.listen();
  }

  // Read the file until `release`: browsers limit the number of open players.
  open() {
    if (this.isOpen) return;
    this.isOpen = true;
    if (this.hasSound) this.audio.src = this.url;
  }

  release() {
    this.audio.pause();
    if (!this.isOpen) return;
    this.isOpen = false;
    this.audio.removeAttribute("src");
    this.audio.load();
  }

  listen() {
    const { audio } = this;
    this.button.addEventListener("click", () => (audio.paused ? this.play() : audio.pause()));
    this.slider.addEventListener("input", () => { audio.currentTime = Number(this.slider.value); });
    this.speed.addEventListener("input", () => { audio.playbackRate = Number(this.speed.value); });
    audio.addEventListener("durationchange", () => this.showDuration());
    audio.addEventListener("timeupdate", () => this.showTime());
    audio.addEventListener("error", () => this.fail());
    for (const event of ["play", "pause", "ended"]) audio.addEventListener(event, () => this.showState());
  }

  get isPlaying() {
    return !this.audio.paused;
  }

  get time() {
    return this.audio.currentTime;
  }

  async play(from) {
    if (playing && playing !== this) playing.audio.pause();
    playing = this;
    if (from !== undefined) this.audio.currentTime = from;
    try {
      await this.audio.play();
    } catch (error) {
      if (error.name !== "AbortError") this.fail(); // AbortError: paused before it began
    }
  }

  pause() {
    this.audio.pause();
  }

  fail() {
    if (!this.isPlayable || !this.isOpen) return;
    this.isPlayable = false;
    this.root.replaceChildren(element("p", { className: "note" },
      "This browser can't play this file. Its translation is not affected."));
    this.on.unplayable();
  }

  showDuration() {
    const { duration } = this.audio;
    if (duration === Infinity) { // a recording of the browser's: the end is found by seeking to it
      this.audio.currentTime = 1e7;
      this.audio.addEventListener("timeupdate", () => { this.audio.currentTime = 0; }, { once: true });
    } else if (duration > 0) {
      this.duration = duration;
      this.slider.max = duration;
      this.slider.disabled = false;
      this.on.duration(duration);
      this.showTime();
    }
  }

  showTime() {
    if (this.duration === undefined) return;
    const position = `${clock(this.time)} of ${clock(this.duration)}`;
    this.slider.value = this.time;
    this.slider.setAttribute("aria-valuetext", position);
    this.slider.style.setProperty("--share", `${(100 * this.time) / this.duration}%`);
    this.times.textContent = `${clock(this.time)} / ${clock(this.duration)}`;
    this.on.time(this.time);
  }

  showState() {
    setIcon(this.button, this.isPlaying ? "pause" : "play");
    this.button.ariaLabel = this.isPlaying ? "Pause" : "Play";
    this.on.state(this.isPlaying);
  }

  close() {
    this.release();
    URL.revokeObjectURL(this.url);
  }
}

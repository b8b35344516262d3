// Record the microphone into a file.

import { clock, get } from "./dom.js";

const TYPES = [["audio/webm;codecs=opus", "webm"], ["audio/ogg;codecs=opus", "ogg"], ["audio/mp4", "m4a"]];
const REASONS = {
  NotAllowedError: "The browser may not use the microphone. Allow it in the browser's settings for this page.",
  NotFoundError: "No microphone was found.",
  NotReadableError: "The microphone is used by another program.",
};

// Ask for the microphone and start. Return {stop, discard}; both end it, and `stop` resolves with {file, seconds}.
export async function record() {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Error("Browsers allow recording only on https pages and on localhost. Files can still be dropped.");
  }
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  } catch (error) {
    throw new Error(REASONS[error.name] ?? `The microphone can't be used: ${error.message}`);
  }
  const [type, suffix] = TYPES.find(([candidate]) => MediaRecorder.isTypeSupported(candidate)) ?? ["", "webm"];
  const recorder = new MediaRecorder(stream, type ? { mimeType: type, audioBitsPerSecond: 64000 } : {});
  const parts = [];
  recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
  const ended = new Promise((resolve) => { recorder.addEventListener("stop", resolve, { once: true }); });
  recorder.start(1000);
  const begin = performance.now();
  const seconds = () => (performance.now() - begin) / 1000;
  const endMeter = showLevel(stream, seconds);

  async function end() {
    const duration = seconds();
    if (recorder.state !== "inactive") recorder.stop();
    await ended;
    for (const track of stream.getTracks()) track.stop();
    endMeter();
    return duration;
  }

  return {
    discard: end,
    async stop() {
      const duration = await end();
      const now = new Date();
      const two = (number) => String(number).padStart(2, "0");
      const day = `${now.getFullYear()}-${two(now.getMonth() + 1)}-${two(now.getDate())}`;
      const time = [now.getHours(), now.getMinutes(), now.getSeconds()].map(two).join("-");
      const name = `recording-${day}-${time}.${suffix}`;
      return { file: new File(parts, name, { type: recorder.mimeType.split(";")[0] }), seconds: duration };
    },
  };
}

// Show the time and the level until the returned function is called.
function showLevel(stream, seconds) {
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  analyser.fftSize = 1024;
  context.createMediaStreamSource(stream).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  const bars = [...get("meter").children];
  const levels = bars.map(() => 0);
  const timer = setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
    levels.push(Math.min(1, Math.max(0, 1 + Math.log10(power + 1e-6) / 5))); // -50 dB to 0 dB
    levels.shift();
    bars.forEach((bar, index) => bar.style.setProperty("--level", levels[index].toFixed(2)));
    get("recorded").textContent = clock(seconds());
  }, 80);
  return () => {
    clearInterval(timer);
    context.close();
    for (const bar of bars) bar.style.removeProperty("--level");
    get("recorded").textContent = clock(0);
  };
}

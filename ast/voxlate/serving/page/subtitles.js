// Cut corrected segments into cues, and write them as txt, srt, vtt and json.
//
// The limits, the costs and the escapes are those of voxlate's decoding/cue_search.py, decoding/subtitles.py and
// decoding/subtitle_formats.py. Only the word lists of decoding/function_words.py are left out.

const SENTENCE_END = 0, CLAUSE_END = 2, WORD_END = 4, BOUND_WORD = 12, INSIDE_WORD = 24;
const SHORTEST_SECONDS = 0.2, LATE_SECONDS = 0.25;
const FULL_WIDTH = /[\u1100-\u115f\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\u{1f300}-\u{1f64f}\u{1f900}-\u{1f9ff}\u{20000}-\u{3fffd}]/u;
const NO_WIDTH = /[\p{Mn}\p{Me}\p{Cf}\p{Cc}]/u;
const SPACELESS = /[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u318f\u31a0-\ua4cf\uf900-\ufaff\uff66-\uff9f]/u;
const NOT_FIRST = new Set("、。，．・：；？！゛゜ヽヾゝゞ々ー’”）〕］｝〉》」』】‐〜～…‥,.!?:;)]}%％ぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶ");
const NOT_LAST = new Set("‘“（〔［｛〈《「『【([{$＄￥¥#");
const CLOSING = "[\"'”’»›)\\]}」』】》〉）］｝]*$";
const SENTENCE = new RegExp(`[.!?…。！？।॥؟۔։።｡]${CLOSING}`, "u");
const BRACKETS = /^["'”’»›)\]}」』】》〉）］｝¿¡«“„(]+|["'”’»›)\]}」』】》〉）］｝¿¡«“„(]+$/gu;
const CLAUSE = new RegExp(`[,;:—–،؛、，；：､]${CLOSING}`, "u");

function limitsOf(language) {
  const primary = (language ?? "").toLowerCase().split(/[-_]/)[0];
  const usual = { lineWidth: 42, lineCount: 2, minSeconds: 1, maxSeconds: 7, speed: 20, gap: 0.08, inFullWidths: false };
  if (["zh", "yue", "wuu", "nan", "ja"].includes(primary)) return { ...usual, lineWidth: 16, speed: 9, inFullWidths: true };
  if (primary === "ko") return { ...usual, lineWidth: 16, speed: 11, inFullWidths: true };
  if (["th", "lo", "km", "my"].includes(primary)) return { ...usual, lineWidth: 35, speed: 17 };
  return usual;
}

function widthOf(text, limits) {
  let halves = 0;
  for (const letter of text) halves += NO_WIDTH.test(letter) ? 0 : FULL_WIDTH.test(letter) ? 2 : 1;
  return limits.inFullWidths ? halves / 2 : halves;
}

export function oneLine(text) {
  return text.replace(/[\p{Cc}\u2028\u2029]/gu, " ").split(/\s+/u).filter(Boolean).join(" ");
}

// The parts of a text that stay on one line: words, or phrases of scripts without spaces.
function partsOf(text, language, limits) {
  const parts = [];
  for (const word of text.split(" ").filter(Boolean)) {
    const phrases = phrasesOf(word, language).flatMap((phrase) => slicesOf(phrase, limits));
    phrases.forEach(([phrase, badness], index) => {
      parts.push({ text: phrase, isSpaced: index === 0 && parts.length > 0, badness });
    });
  }
  parts.forEach((part, index) => {
    const following = parts[index + 1]?.text;
    if (following === undefined) part.badness = SENTENCE.test(part.text) ? SENTENCE_END : CLAUSE_END;
    else if (part.badness !== INSIDE_WORD) part.badness = badnessOf(part.text, following);
  });
  return parts;
}

function badnessOf(word, following) {
  const bare = word.replace(BRACKETS, "").toLowerCase();
  if (/[\p{L}\p{N}_]['’]$/u.test(bare)) return BOUND_WORD; // elided
  if (SENTENCE.test(word)) {
    const isAbbreviation = /\d+\.$/u.test(word) || /^[\p{L}\p{N}_]\.$/u.test(bare) || /^\p{Ll}/u.test(following);
    return isAbbreviation ? WORD_END : SENTENCE_END;
  }
  if (CLAUSE.test(word)) return CLAUSE_END;
  const isBound = (/\p{Nd}$/u.test(bare) && /^\p{L}/u.test(following)) || ["-", "–", "—"].includes(following);
  return isBound ? BOUND_WORD : WORD_END;
}

function phrasesOf(word, language) {
  if (!SPACELESS.test(word)) return [word];
  const phrases = [""];
  for (const { segment } of new Intl.Segmenter(language, { granularity: "word" }).segment(word)) {
    const before = phrases.at(-1);
    const mayBreak = before && !NOT_FIRST.has([...segment][0]) && !NOT_LAST.has([...before].at(-1)) &&
      (SPACELESS.test([...before].at(-1)) || SPACELESS.test([...segment][0]));
    if (mayBreak) phrases.push(segment);
    else phrases[phrases.length - 1] += segment;
  }
  return phrases;
}

// Cut what is wider than a line into even slices.
function slicesOf(phrase, limits) {
  const width = widthOf(phrase, limits);
  if (width <= limits.lineWidth) return [[phrase, WORD_END]];
  const even = Math.min(width / Math.ceil(width / (limits.lineWidth * 0.9)) + 1, limits.lineWidth);
  const slices = [""];
  for (const { segment } of new Intl.Segmenter(undefined, { granularity: "grapheme" }).segment(phrase)) {
    if (slices.at(-1) && widthOf(slices.at(-1) + segment, limits) > even) slices.push("");
    slices[slices.length - 1] += segment;
  }
  return slices.map((slice, index) => [slice, index < slices.length - 1 ? INSIDE_WORD : WORD_END]);
}

// The times of a segment's letters: those of its words if the server sent them, else evenly spread.
function letterTimes(segment) {
  const words = segment.words?.length ? segment.words : [segment];
  return words.flatMap((word) => {
    const count = [...word.text.replace(/\s/gu, "")].length;
    const seconds = Math.max(0, word.end - word.start);
    return Array.from({ length: count }, (_, letter) =>
      [word.start + (seconds * letter) / count, word.start + (seconds * (letter + 1)) / count]);
  });
}

function timedParts(segments, language, limits) {
  const timed = [];
  let start = 0, end = 0;
  for (const segment of segments) {
    const parts = partsOf(oneLine(segment.text), language, limits);
    const letters = parts.reduce((sum, part) => sum + [...part.text].length, 0);
    const known = letterTimes(segment);
    const times = known.length ? known : [[segment.start, segment.end]];
    let position = 0;
    parts.forEach((part, index) => {
      const first = Math.floor((position * times.length) / letters);
      position += [...part.text].length;
      const last = Math.max(first, Math.ceil((position * times.length) / letters) - 1);
      start = Math.max(start, times[first][0]);
      end = Math.max(end, times[last][1], start);
      const follows = index === 0 && timed.length > 0;
      const isSpaced = follows ? !(SPACELESS.test(timed.at(-1).text.at(-1)) && SPACELESS.test(part.text[0])) : part.isSpaced;
      timed.push({ ...part, isSpaced, start, end });
    });
  }
  return timed;
}

// The cheapest cues, as lists of lines, each a list of parts.
function findCues(parts, limits, seconds) {
  const space = limits.inFullWidths ? 0.5 : 1;
  const spaces = parts.map((part) => (part.isSpaced ? space : 0));
  const widths = [0], inner = [0];
  const badness = parts.map((part, index) => {
    const pause = index + 1 < parts.length ? Math.max(0, parts[index + 1].start - part.end) : Infinity;
    widths.push(widths[index] + widthOf(part.text, limits) + spaces[index]);
    inner.push(inner[index] + 2 * (part.badness === SENTENCE_END) + 3 * (pause < Infinity ? Math.max(0, pause - 0.3) : 0));
    const lowest = Math.min(part.badness, part.badness <= WORD_END ? CLAUSE_END : WORD_END);
    return part.badness - Math.min(1, pause / 0.5) * (part.badness - lowest);
  });
  const width = (first, last) => widths[last] - widths[first] - spaces[first];
  const latest = Math.max(seconds, parts.at(-1)?.end ?? 0);
  const startOf = (index) => parts[index]?.start ?? latest;

  function cost(first, last) {
    const shown = Math.max(0.02, Math.min(startOf(last) - startOf(first), limits.maxSeconds));
    const wide = width(first, last);
    return 1 + badness[last - 1] + inner[last - 1] - inner[first] + (wide / (limits.lineWidth * limits.lineCount)) ** 2 +
      1.5 * Math.max(0, 2 - shown) + 10 * Math.max(0, limits.minSeconds - shown) +
      10 * Math.max(0, wide / shown / limits.speed - 1);
  }

  // Where the first of two lines ends, and the cost; one line costs nothing.
  function lines(first, last) {
    const wide = width(first, last);
    if (wide <= limits.lineWidth || last === first + 1) return [0, null];
    const balance = (begin, end) =>
      width(begin, end) <= limits.lineWidth ? 3 * ((width(begin, end) - wide / 2) / limits.lineWidth) ** 2 : Infinity;
    let best = [Infinity, null];
    for (let end = last - 1; end > first; end -= 1) {
      const found = 0.5 + 0.5 * badness[end - 1] + balance(first, end) + balance(end, last);
      if (found < best[0]) best = [found, end];
    }
    return best;
  }

  const costs = [0, ...parts.map(() => Infinity)];
  const best = [];
  for (let first = 0; first < parts.length; first += 1) {
    for (let last = first + 1; last <= parts.length; last += 1) {
      const isTooLong = width(first, last) > (limits.lineWidth + 1) * limits.lineCount ||
        parts[last - 1].end - parts[first].start > limits.maxSeconds;
      if (last > first + 1 && isTooLong) break;
      const base = costs[first] + cost(first, last);
      if (base >= costs[last]) continue;
      const [linesCost, end] = lines(first, last);
      if (base + linesCost < costs[last]) {
        costs[last] = base + linesCost;
        best[last] = [first, end];
      }
    }
  }
  const cues = [];
  for (let position = parts.length; position > 0; position = best[position][0]) {
    const [first, end] = best[position];
    cues.unshift(end === null ? [parts.slice(first, position)] : [parts.slice(first, end), parts.slice(end, position)]);
  }
  return cues;
}

function lineText(parts) {
  return parts.map((part, index) => (index > 0 && part.isSpaced ? " " : "") + part.text).join("");
}

const hundredths = (seconds) => Math.round(seconds * 100) / 100;

// Cues without overlaps: {start, end, lines}. Each is shown long enough to be read if the next one can wait for it.
export function makeCues(segments, language, seconds) {
  const limits = limitsOf(language);
  const parts = timedParts(segments, language, limits);
  const cues = findCues(parts, limits, seconds).map((lines) => ({
    start: lines[0][0].start, end: lines.at(-1).at(-1).end, lines: lines.map(lineText),
  }));
  if (!cues.length) return [];
  const starts = cues.map((cue) => hundredths(cue.start));
  for (let index = 1; index < starts.length; index += 1) {
    starts[index] = Math.max(starts[index], hundredths(starts[index - 1] + SHORTEST_SECONDS));
  }
  starts.push(Math.max(seconds, cues.at(-1).end, starts.at(-1) + SHORTEST_SECONDS));
  const needed = cues.map((cue) => {
    const width = cue.lines.reduce((sum, line) => sum + widthOf(line, limits), 0);
    return Math.max(limits.minSeconds, Math.ceil((100 * width) / limits.speed) / 100);
  });
  for (let index = 1; index < cues.length; index += 1) {
    const missing = starts[index - 1] + needed[index - 1] - starts[index];
    const spare = starts[index + 1] - starts[index] - needed[index];
    const delay = Math.min(missing, spare, LATE_SECONDS);
    starts[index] += Math.max(0, Math.floor(delay * 100 + 0.01) / 100);
  }
  return cues.map((cue, index) => {
    const [start, following] = [starts[index], starts[index + 1]];
    const latest = Math.min(following, start + limits.maxSeconds);
    let end = Math.min(Math.max(cue.end, start + needed[index]), latest);
    if (following - end < limits.gap) end = following <= latest ? following : Math.min(end, following - limits.gap);
    return { start: hundredths(start), end: hundredths(end), lines: cue.lines };
  });
}

function timestamp(seconds, point) {
  const total = Math.round(seconds * 1000);
  const [hours, minutes, rest] = [Math.floor(total / 3600000), Math.floor(total / 60000) % 60, total % 60000];
  const two = (number) => String(number).padStart(2, "0");
  return `${two(hours)}:${two(minutes)}:${two(Math.floor(rest / 1000))}${point}${String(rest % 1000).padStart(3, "0")}`;
}

// Players assume left to right, and put the final period of other lines on the wrong side: U+202B and U+202C embed them.
function directionMarks(cues) {
  let balance = 0;
  for (const letter of cues.flatMap((cue) => cue.lines).join("")) {
    if (/[\p{Script=Arabic}\p{Script=Hebrew}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}]/u.test(letter)) balance += 1;
    else if (/\p{L}/u.test(letter)) balance -= 1;
  }
  return balance > 0 ? ["\u202b", "\u202c"] : ["", ""];
}

function escapeSrt(line) {
  return line.replaceAll("-->", "→").replaceAll("{", "(").replaceAll("}", ")").replaceAll("\\", "\\\u2060")
    .replace(/<(?=[^\s\d])/gu, "<\u2060");
}

function escapeVtt(line) {
  return line.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll("\\", "\\\u2060");
}

function blocks(translation, escape, point) {
  const cues = makeCues(translation.segments, translation.language, translation.seconds);
  const [open, close] = directionMarks(cues);
  return cues.map((cue, index) => {
    const lines = cue.lines.map((line) => open + escape(line) + close);
    return `${index + 1}\n${timestamp(cue.start, point)} --> ${timestamp(cue.end, point)}\n${lines.join("\n")}\n`;
  }).join("\n");
}

function json(translation) {
  const rounded = (seconds) => Math.round(seconds * 1000) / 1000;
  const contents = {
    audio: translation.name,
    seconds: rounded(translation.seconds),
    target_language: translation.language,
    model: translation.model,
    text: lineText(timedParts(translation.segments, translation.language, limitsOf(translation.language))),
    segments: translation.segments.map((segment) => ({
      start: rounded(segment.start),
      end: rounded(segment.end),
      text: oneLine(segment.text),
      ...(oneLine(segment.text) === oneLine(segment.original) ? {} : { uncorrected_text: segment.original }),
    })),
  };
  return `${JSON.stringify(contents, null, 2)}\n`;
}

// Each takes {name, language, model, seconds, segments: [{start, end, text, original, words?}]}.
export const WRITERS = {
  txt: (translation) => translation.segments.map((segment) => `${oneLine(segment.text)}\n`).join("") || "\n",
  srt: (translation) => blocks(translation, escapeSrt, ","),
  vtt: (translation) => `WEBVTT\n\n${blocks(translation, escapeVtt, ".")}`,
  json,
};

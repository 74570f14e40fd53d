// Scales of charts.

/** A round number at or above `n`, whose half is round as well. */
export function roundUp(n) {
  const power = 10 ** Math.floor(Math.log10(n));
  return [1, 1.5, 2, 3, 4, 6, 8, 10].map((step) => step * power).find((round) =>
    round >= n * (1 - 1e-9)
  );
}

/** Maps [from, to] to [low, high]. */
export function linear(from, to, low, high) {
  const span = to - from || 1;
  return (value) => low + ((value - from) / span) * (high - low);
}

/** The same by powers of ten; what is below `from` counts as `from`. */
export function logarithmic(from, to, low, high) {
  const scale = linear(Math.log10(from), Math.log10(to), low, high);
  return (value) => scale(Math.log10(Math.max(value, from)));
}

/** The powers of ten from `from` to `to`. */
export function powers(from, to) {
  const found = [];
  for (let at = Math.round(Math.log10(from)); at <= Math.round(Math.log10(to)); at += 1) {
    found.push(10 ** at);
  }
  return found;
}

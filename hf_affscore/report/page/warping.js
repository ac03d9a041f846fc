'use strict';

/**
 * Dynamic time warping: the pairs of positions that match, and the root of the summed squared differences.
 * Positions without a score take no part. Equal to the distances that Python computed (a test compares them).
 */
function warp(first, second) {
  const defined = (scores) => scores.map((_, i) => i).filter((i) => scores[i] !== null);
  const [left, right] = [defined(first), defined(second)];
  const [n, m] = [left.length, right.length];
  const width = m + 1;
  const cost = new Float64Array((n + 1) * width).fill(Infinity);
  cost[0] = 0;
  for (let i = 1; i <= n; i++) {
    for (let j = 1; j <= m; j++) {
      const difference = first[left[i - 1]] - second[right[j - 1]];
      const best = Math.min(cost[(i - 1) * width + j - 1], cost[(i - 1) * width + j], cost[i * width + j - 1]);
      cost[i * width + j] = difference * difference + best;
    }
  }
  const path = [];
  for (let i = n, j = m; i > 0 && j > 0;) {
    path.push([left[i - 1], right[j - 1]]);
    const both = cost[(i - 1) * width + j - 1];
    const up = cost[(i - 1) * width + j];
    const back = cost[i * width + j - 1];
    if (both <= up && both <= back) { i--; j--; } else if (up <= back) { i--; } else { j--; }
  }
  return { path: path.reverse(), distance: Math.sqrt(cost[n * width + m]) };
}

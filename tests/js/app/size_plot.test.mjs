/** Names on the plot: beside their points, never over each other, left out rather than unreadable. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { gather, placeLabels } from "../../../static/app/size_plot.js";

const AREA = { left: 50, right: 400, top: 10, bottom: 200 };

function points(places) {
  return places.map(([name, x, y, writes = true]) => ({ name, x, y, writes, bytes: 1e8, speed: 10 }));
}

test("points_on_each_other_are_one_spot", () => {
  const spots = gather(points([["a", 100, 100], ["b", 104, 103], ["c", 130, 100], ["d", 100, 100, false]]));
  assert.deepEqual(spots.map(({ names }) => names), [["a", "b"], ["c"], ["d"]]);
});

test("names_cover_neither_points_nor_names", () => {
  const spots = gather(points(Array.from({ length: 12 }, (_, at) => [`a model ${at}`, 60 + 25 * at, 100 + 7 * (at % 3)])));
  const labels = placeLabels(spots, AREA);
  assert.ok(labels.length >= 4);
  for (const [at, { x, y, width }] of labels.entries()) {
    assert.ok(x >= AREA.left && x + width <= AREA.right);
    for (const other of labels.slice(at + 1)) assert.ok(Math.abs(y - other.y) >= 16 || x + width < other.x || other.x + other.width < x);
    for (const spot of spots) assert.ok(Math.abs(y - spot.y) >= 10 || spot.x < x || spot.x > x + width);
  }
});

test("many_in_one_place_are_counted", () => {
  const [label] = placeLabels(gather(points([["a", 100, 100], ["b", 100, 100], ["c", 100, 100]])), AREA);
  assert.equal(label.text, "a and 2 more");
});

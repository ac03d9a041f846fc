"""The report, in a real browser: what a person sees, does and gets."""

import csv
import hashlib
import json
import math
from importlib.resources import files

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from hf_affscore.comparison import compare
from hf_affscore.errors import AffscoreWarning, InputError
from hf_affscore.reference import depths, read_reference
from hf_affscore.report import render_report, write_report
from hf_affscore.signature import NUMBERS_VERSION
from tests.browser import Diary, chromium
from tests.signatures import make_signature

EVIL = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>&amp;\"%DATA%{b|c}"
WIDTHS = {"phone": (390, 844), "desktop": (1280, 900)}


def networks(count, length=None):
    random = np.random.default_rng(0)
    signatures = []
    for i in range(count):
        scores = np.clip(random.normal(0.3 + 0.4 * (i % 2), 0.1, length or 10 + i), 0, 1)
        scores[2] = math.nan
        reason = [None if math.isfinite(score) else "constant output" for score in scores]
        noise = random.normal(0, 0.1, len(scores))
        columns = {
            "affinity_score_low": (scores - 0.01).tolist(),
            "affinity_score_high": (scores + 0.01).tolist(),
            "cka": (scores + noise).tolist(),
            "reason": reason,
        }
        signatures.append(make_signature(scores, name=f"net{i}", **columns))
    return signatures


def evil():
    return make_signature([0.2, 0.9, 0.4, 0.8], name=EVIL, activations=(EVIL,), cka=[0.1, 0.2, 0.3, 0.1])


@pytest.fixture(scope="module", name="comparison")
def _comparison():
    published = {"net0": {"accuracy": 0.7}, "net1": {"accuracy": 0.6}, "net2": {"accuracy": 0.8}}
    return compare([*networks(5), evil()], published=published)


@pytest.fixture(scope="module", name="browser")
def _browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(name="open_report")
def _open_report(browser, tmp_path):
    """Opens a report and, when the test ends, asks that the page said nothing and requested nothing."""
    opened = []

    def open_report(comparison, width="desktop"):
        size = dict(zip(("width", "height"), WIDTHS[width], strict=True))
        page = browser.new_page(viewport=size)
        diary = Diary(page)
        address = write_report(comparison, tmp_path / "report.html").as_uri()
        page.goto(address)
        opened.append((page, diary, address))
        return page

    yield open_report
    for page, diary, address in opened:
        assert page.evaluate("window.hacked") is None
        assert diary.said == []
        assert [url for url in diary.requested if not url.startswith(("data:", "blob:"))] == [address]
        page.close()


@pytest.fixture(name="page")
def _page(open_report, comparison):
    return open_report(comparison)


def names(page):
    return [text.strip() for text in page.locator("#table tbody td.name").all_inner_texts()]


def selected(page):
    return [text.strip() for text in page.locator("#table tr.chosen td.name").all_inner_texts()]


def warnings(page):
    return page.locator(".warnings p").all_inner_texts()


def series(page, chart):
    """The names and numbers of points that a chart draws."""
    return page.evaluate(
        "id => echarts.getInstanceByDom(document.getElementById(id)).getOption().series"
        ".filter(s => s.type === 'scatter').map(s => [s.name, s.data.length])",
        chart,
    )


def pixel(page, chart, finder, point):
    """Where a point of a chart is on the screen."""
    box = page.locator(f"#{chart}").bounding_box()
    x, y = page.evaluate(
        "([id, f, p]) => echarts.getInstanceByDom(document.getElementById(id)).convertToPixel(f, p)",
        [chart, finder, point],
    )
    return box["x"] + x, box["y"] + y


def test_every_network_is_listed_and_nothing_is_requested(page, comparison):
    assert sorted(names(page)) == sorted(comparison.names)
    assert page.locator("#about").inner_text() == "6 networks on 64 images of cifar10, test."
    assert all("made differently" not in text and "Features" not in text for text in warnings(page))


def test_search_narrows_the_table(page):
    page.fill("#search", "NET3")
    assert names(page) == ["net3"]
    assert page.locator("#count").inner_text() == "1 of 6 networks"
    page.fill("#search", "")
    assert len(names(page)) == 6
    page.fill("#search", "resnet")
    assert page.locator("#table tbody").inner_text() == "No network and no family is called like “resnet”."


def test_a_heading_sorts_up_and_down_and_puts_the_unknown_last(page, comparison):
    heading = page.get_by_role("button", name="accuracy")
    heading.click()
    assert names(page)[:3] == ["net2", "net0", "net1"]
    assert page.locator("th[aria-sort=descending]").inner_text() == "accuracy"
    heading.click()
    assert names(page)[:3] == ["net1", "net0", "net2"]
    page.get_by_role("button", name="network", exact=True).click()
    assert names(page) == sorted(comparison.names)
    page.get_by_role("button", name="median").click()
    assert names(page) == list(comparison.networks.sort_values("median", ascending=False).index)


def test_selecting_changes_what_is_drawn(page):
    page.click("#clear")
    assert page.locator("#pair").is_hidden()
    page.get_by_label("net1").check()
    page.get_by_label("net3").check()
    assert series(page, "signatures") == [["net1", 11], ["net3", 13]]
    assert page.locator("#pair").is_visible()
    page.get_by_label("net2").check()
    assert [name for name, _ in series(page, "signatures")] == ["net1", "net3", "net2"]
    assert page.locator("#pair").is_hidden()
    assert "3 selected" in page.locator("#pair-note").inner_text()


def test_the_page_aligns_as_python_does(page, comparison):
    for first, second in (("net1", "net3"), ("net4", "net0"), (EVIL, "net2")):
        positions = [comparison.names.index(first), comparison.names.index(second)]
        found = page.evaluate(
            "pair => { const n = JSON.parse(document.getElementById('data').textContent).networks;"
            "return warp(...pair.map(i => n[i].statistics.affinity_score)); }",
            positions,
        )
        assert found["distance"] == pytest.approx(comparison.distances[*positions], abs=1e-9)
        assert [tuple(match) for match in found["path"]] == comparison.align(first, second)


def test_a_pair_shows_its_distance_and_its_nearest(page, comparison):
    page.click("#clear")
    page.get_by_label("net1").check()
    nearest, distance = comparison.nearest("net1", 1)[0]
    page.get_by_role("button", name=f"{nearest} ({distance:.3f})").click()
    assert set(selected(page)) == {"net1", nearest}
    assert f"distance {distance:.3f}" in page.locator("#pair-note").inner_text()


def test_hovering_names_the_layer_and_its_values(page, comparison):
    page.click("#clear")
    page.get_by_label("net1").check()
    signature = comparison.signatures[comparison.names.index("net1")]
    page.locator("#signatures").scroll_into_view_if_needed()
    page.mouse.move(*pixel(page, "signatures", {"seriesIndex": 0}, [4, signature.scores[4]]))
    told = page.locator("#signatures-detail")
    expect(told).to_contain_text("net1")
    row = signature.rows[4]
    for text in (
        "net1",
        f"4: layers.4.act · {row.activation}",
        f"{row.affinity_score:.4f} (95 %: {row.affinity_score_low:.4f} to {row.affinity_score_high:.4f})",
        f"cka {row.cka:.3f}",
    ):
        assert text in told.inner_text()
    chart, below = (page.locator(f"#{name}").bounding_box() for name in ("signatures", "signatures-detail"))
    assert below["y"] >= chart["y"] + chart["height"]  # it covers nothing


def test_two_networks_tell_their_difference(page, comparison):
    page.click("#clear")
    page.get_by_label("net1").check()
    page.get_by_label("net3").check()
    first, second = (comparison.signatures[comparison.names.index(name)] for name in ("net1", "net3"))
    page.locator("#signatures").scroll_into_view_if_needed()
    depth = 4 / (len(first.rows) - 1)  # they have different numbers of activations
    page.mouse.move(*pixel(page, "signatures", {"seriesIndex": 0}, [depth, first.scores[4]]))
    there = round(depth * (len(second.rows) - 1))
    told = page.locator("#signatures-detail")
    expect(told).to_contain_text(
        f"Difference: {second.scores[there] - first.scores[4]:+.4f} (net3 less net1)"
    )
    expect(told).to_contain_text(f"{there}: layers.{there}.act")


def test_other_activations_at_the_same_places_are_named_on_the_page(open_report):
    kinds = ("ReLU", "GELU")
    page = open_report(
        compare([make_signature([0.5, 0.6, 0.7], name=kind, activations=(kind,)) for kind in kinds])
    )
    assert "3 ReLU → GELU" in page.locator("#change-note").inner_text()
    assert page.locator("#change-table").inner_text().count("act · ReLU → GELU") == 3


def test_no_line_joins_activations(open_report):
    kinds = ("ReLU", "ReLU", "GELU")
    page = open_report(
        compare([make_signature([0.5, 0.6, 0.7, 0.8], activations=kinds, name=name) for name in "ab"])
    )
    for chart in ("signatures", "pair"):
        drawn = page.evaluate(
            "id => echarts.getInstanceByDom(document.getElementById(id)).getOption().series"
            ".map(({ type, data }) => type === 'custom' ? type : [type, ...data.map(point => point.value[1])])",
            chart,
        )
        assert [each for each in drawn if each != "custom"] == [["scatter", 0.5, 0.6, 0.7, 0.8]] * 2
    assert "L" not in page.locator("svg.spark path").first.get_attribute("d")
    assert page.locator("#key").inner_text().split() == ["ReLU", "GELU"]


def test_depth_is_0_at_the_first_activation_and_1_at_the_last_as_in_pictures(open_report):
    compared = compare([make_signature([0.5] * count, name=f"net{count}") for count in (1, 3, 4)])
    page = open_report(compared)
    for name in compared.names:
        page.get_by_label(name).check()
    drawn = page.evaluate(
        "echarts.getInstanceByDom(document.getElementById('signatures')).getOption().series"
        ".filter(s => s.type === 'scatter').map(s => [s.name, s.data.map(point => point.value[0])])"
    )
    assert dict(drawn) == {
        f"net{count}": pytest.approx(depths(count).tolist(), abs=1e-12) for count in (1, 3, 4)
    }


def colours(page, chart):
    return dict(
        page.evaluate(
            "id => echarts.getInstanceByDom(document.getElementById(id)).getOption().series"
            ".filter(s => s.type === 'scatter').map(s => [s.name, s.color])",
            chart,
        )
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_family_has_one_colour_on_the_whole_page(open_report, scheme):
    networks = [make_signature([0.5, 0.6, 0.7 + i / 100], name=f"net{i}") for i in range(5)]
    page = open_report(compare(networks, families={"even": "net[024]", "odd": "net[13]"}))
    page.emulate_media(color_scheme=scheme)
    page.click("#clear")
    of = page.evaluate(
        "[...familyColours(data()).entries()].map(([name, c]) => [name, theme().colour(c)])".replace(
            "data()", "JSON.parse(document.getElementById('data').textContent).networks"
        )
    )
    even, odd = dict(of)["even"], dict(of)["odd"]
    for name in ("net3", "net0"):  # not in the order of the families
        page.get_by_label(name).check()
    assert colours(page, "signatures") == colours(page, "pair") == {"net3": odd, "net0": even}
    shown = "marks => marks.map(mark => getComputedStyle(mark).fill)"
    families, chosen = (page.locator(f"#{key} svg").evaluate_all(shown) for key in ("families", "who"))
    assert chosen == families[::-1]
    page.get_by_label("net2").check()
    page.get_by_label("net4").check()
    found = colours(page, "signatures")
    assert (found["net3"], found["net0"]) == (odd, even)
    assert len(set(found.values())) == 4  # shades keep networks of one family apart


def test_what_is_no_evidence_is_hollow_and_said_and_the_verdict_stands_below_the_table(open_report):
    words = ["ok", "few_samples", "ok", "ridge_dominates"]
    signature = make_signature([0.5, 0.9, 0.6, 0.7], name="net", activations=("ReLU",), evidence=words)
    page = open_report(compare([signature]))
    for scheme, ground in (("light", "#fff"), ("dark", "#14171a")):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function(
            "colours => JSON.stringify(echarts.getInstanceByDom(document.getElementById('signatures'))"
            ".getOption().series[0].data.map(point => point.itemStyle?.color ?? null)) === colours",
            arg=json.dumps([None, ground, None, ground], separators=(",", ":")),
        )
    assert "hollow: no evidence" in page.locator("#key").inner_text()
    assert page.locator("#verdicts").inner_text() == f"net {' '.join(signature.verdict)}"
    page.mouse.move(*pixel(page, "signatures", {"seriesIndex": 0}, [1, 0.9]))
    expect(page.locator("#signatures-detail")).to_contain_text("no evidence: few samples")


def band(page):
    """The shapes of the reference on the screen, as depths or indices and scores."""
    return page.evaluate(
        """() => { const chart = echarts.getInstanceByDom(document.getElementById('signatures'));
        return chart.getZr().storage.getDisplayList().filter(shape => ['polygon', 'polyline'].includes(shape.type)
            && shape.z === 0)
            .map(shape => shape.shape.points.map(point => chart.convertFromPixel({ seriesIndex: 0 }, point))); }"""
    )


def made_as_the_reference(length, name, **options):
    signature = make_signature(np.linspace(0.5, 0.9, length), name=name)
    signature.metadata.update(
        numbers_version=NUMBERS_VERSION, options={"pooling": "paper", "regularization": 1e-6, **options}
    )
    return signature


@pytest.mark.parametrize("lengths", [(8, 8), (8, 12)])
def test_what_is_usual_is_drawn_in_grey_behind_the_signatures(open_report, lengths):
    page = open_report(
        compare([made_as_the_reference(length, f"net{i}") for i, length in enumerate(lengths)])
    )
    reference = read_reference()
    area, median = band(page)
    ends = (0, 7) if lengths == (8, 8) else (0, 1)  # by index, or by depth where the numbers differ
    np.testing.assert_allclose([median[0][0], median[-1][0]], ends, atol=0.02)
    np.testing.assert_allclose([score for _, score in median], reference.median, atol=1e-3)
    np.testing.assert_allclose(
        [score for _, score in area], [*reference.lowest, *reference.highest[::-1]], atol=1e-3
    )
    assert page.locator("#usual-note").inner_text() == reference.caption
    page.get_by_label("Show what is usual").uncheck()
    assert band(page) == []
    assert page.locator("#usual-note").inner_text() == ""


def test_what_is_usual_is_not_drawn_behind_other_quantities(open_report):
    networks = [made_as_the_reference(8, "one"), made_as_the_reference(8, "other", pooling="positions")]
    page = open_report(compare(networks, allow_differences=True))
    assert band(page) == []
    assert page.locator("#usual-note").inner_text() == (
        "What is usual cannot be shown behind other: its pooling is 'positions' and that of the reference 'paper'."
    )
    page.get_by_label("other").uncheck()
    assert len(band(page)) == 2


def test_families_are_a_column_a_colour_and_can_be_searched(open_report):
    networks = [make_signature([0.5, 0.6, 0.7 + i / 100], name=f"net{i}") for i in range(9)]
    families = {f"family {i}": f"net{i}" for i in range(9)}
    page = open_report(compare(networks, families=families))
    page.fill("#search", "family 3")
    assert names(page) == ["net3"]
    assert "family 3" in page.locator("#table tbody").inner_text()
    key = page.locator("#families li").all_inner_texts()
    assert len(key) == 8
    assert key[-1] == "other families"
    label = page.evaluate(
        """() => { const chart = echarts.getInstanceByDom(document.getElementById('distances'));
        const { axisLabel } = chart.getOption().yAxis[1];
        const data = JSON.parse(document.getElementById('data').textContent);
        return data.leaf_order.map((i, place) => [data.networks[i].network, axisLabel.formatter(place)]); }"""
    )
    assert all(text.startswith(f"{name} {{") for name, text in label)
    assert {text.split("{")[1] for _, text in label} == {*(f"c{i}|■}}" for i in range(7)), "quiet|■}"}


def test_networks_of_one_family_need_no_column_for_it(page):
    assert page.locator("#families li").count() == 0
    assert page.get_by_role("button", name="family").count() == 0


def test_choosing_a_second_network_brings_the_comparison_into_view(open_report, comparison):
    page = open_report(comparison, "phone")
    page.emulate_media(reduced_motion="reduce")
    page.click("#clear")
    page.get_by_label("net1").check()
    assert page.evaluate("window.scrollY") < 700
    page.get_by_label("net3").check()
    expect(page.locator("#pair canvas").first).to_be_in_viewport()


def test_the_sort_order_is_seen(page):
    page.get_by_role("button", name="median").click()
    arrow = "() => getComputedStyle(document.querySelector('th[aria-sort] button'), '::after').content"
    assert page.evaluate(arrow).startswith('"▼"')
    page.get_by_role("button", name="median").click()
    assert page.evaluate(arrow).startswith('"▲"')


def test_columns_are_explained(page):
    page.get_by_text("What the columns mean").click()
    assert "as published with the checkpoint" in page.locator("#explained").inner_text()
    assert page.get_by_role("button", name="evidence").get_attribute("title").startswith("scores that say")


def test_dark_is_the_readers_choice(open_report, comparison):
    page = open_report(comparison)
    colours = "() => [getComputedStyle(document.body).backgroundColor,"
    colours += " echarts.getInstanceByDom(document.getElementById('signatures')).getOption().color[0]]"
    assert page.evaluate(colours) == ["rgb(255, 255, 255)", "#0072b2"]
    page.emulate_media(color_scheme="dark")
    expect(page.locator("body")).to_have_css("background-color", "rgb(20, 23, 26)")
    page.wait_for_function(f"() => ({colours})()[1] === '#56b4e9'")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("count", [1, 2, 8])
def test_axe_finds_nothing(open_report, count, scheme):
    page = open_report(compare(networks(count)))
    page.emulate_media(color_scheme=scheme)
    page.get_by_text("What the columns mean").click()
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_names_of_one_family_stay_apart_on_the_axes(open_report):
    names = ["google/vit-tiny-11-finetuned-on-imagenet", "google/vit-tiny-22-finetuned-on-imagenet", "a/net"]
    page = open_report(compare([make_signature([0.5, 0.6, 0.7], name=name) for name in names]), "phone")
    shown = page.evaluate(
        "labels(JSON.parse(document.getElementById('data').textContent).networks.map("
        "network => network.network), 14)"
    )
    assert shown[2] == "net"
    assert len(set(shown)) == 3
    assert max(map(len, shown)) <= 14


@pytest.mark.parametrize(
    ("count", "width", "written"), [(6, "desktop", True), (8, "phone", False), (60, "desktop", False)]
)
def test_cells_of_the_heat_map_have_their_numbers_where_there_is_room(open_report, count, width, written):
    compared = compare(networks(count, length=6))
    page = open_report(compared, width)
    found = page.evaluate(
        """() => echarts.getInstanceByDom(document.getElementById('distances')).getZr().storage.getDisplayList()
        .filter(shape => shape.type === 'tspan' && /^\\d\\.\\d\\d$/.test(shape.style.text)
            && ['#000000', '#ffffff'].includes(shape.style.fill)).map(shape => shape.style.text)"""
    )
    assert sorted(found) == (
        sorted(f"{distance:.2f}" for distance in compared.distances.flat) if written else []
    )


def test_the_heat_map_fills_a_wide_page(open_report):
    page = open_report(compare(networks(5)))
    page.set_viewport_size({"width": 1400, "height": 900})
    left, right = (pixel(page, "distances", {"seriesIndex": 0}, [place, 0])[0] for place in (0, 4))
    assert (right - left) * 5 / 4 > 0.6 * 1400


def test_columns_out_of_sight_are_said(open_report, comparison):
    page = open_report(comparison, "phone")
    hint = page.get_by_text("More columns are on the right")
    expect(hint).to_be_visible()
    page.set_viewport_size({"width": 1400, "height": 900})
    expect(hint).to_be_hidden()


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_empty_stands_below_a_chart(open_report, comparison, width):
    page = open_report(comparison, width)
    for name in ("signatures-detail", "pair-detail"):
        assert page.locator(f"#{name}").bounding_box()["height"] < 70


def test_the_heat_map_selects_by_mouse(page, comparison):
    page.locator("#distances").scroll_into_view_if_needed()
    page.mouse.click(*pixel(page, "distances", {"seriesIndex": 0}, [3, 1]))
    order = [comparison.names[i] for i in comparison.leaf_order]
    assert set(selected(page)) == {order[3], order[1]}


def test_the_heat_map_selects_by_keyboard(page, comparison):
    page.focus("#distances")
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    order = [comparison.names[i] for i in comparison.leaf_order]
    distance = comparison.distances[comparison.leaf_order[1], comparison.leaf_order[2]]
    assert page.locator("#cell").inner_text() == f"{order[1]} - {order[2]}: {distance:.3f}"
    assert set(selected(page)) == {order[1], order[2]}


def test_everything_can_be_reached_and_used_by_keyboard(page):
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.focus("#search")
    page.keyboard.type("net2")
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.type") == "checkbox":
            break
    before = page.get_by_label("net2").is_checked()
    page.keyboard.press("Space")
    assert page.get_by_label("net2").is_checked() is not before
    reached = page.evaluate(
        "[...document.querySelectorAll('button, input, [tabindex]')].every(e => e.tabIndex >= 0)"
    )
    assert reached


def test_downloads_hold_the_data(page, comparison, tmp_path):
    with page.expect_download() as table:
        page.click("#download-csv")
    table.value.save_as(tmp_path / "table.csv")
    with open(tmp_path / "table.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["network"] for line in lines] == list(comparison.names)
    assert [float(line["median"]) for line in lines] == comparison.networks["median"].tolist()
    assert lines[3]["accuracy"] == ""
    with page.expect_download() as everything:
        page.click("#download-json")
    everything.value.save_as(tmp_path / "all.json")
    document = json.loads((tmp_path / "all.json").read_text())
    np.testing.assert_array_equal(document["distances"], comparison.distances)
    scores = document["networks"][0]["statistics"]["affinity_score"]
    np.testing.assert_array_equal(np.array(scores, dtype=float), comparison.signatures[0].scores)


def test_names_from_outside_are_text_everywhere(page):
    page.click("#clear")
    page.locator("td.name", has_text="hacked").get_by_role("checkbox").check()
    page.get_by_label("net0").check()
    assert EVIL in names(page)
    assert EVIL in page.locator("#key").inner_text()
    assert page.locator("img").count() == 0
    page.locator("#pair").scroll_into_view_if_needed()
    page.mouse.move(*pixel(page, "pair", {"seriesIndex": 0}, [2, 0.5]))
    expect(page.locator("#pair-detail")).to_contain_text(EVIL)


def test_the_policy_stops_foreign_scripts_and_requests(browser, comparison, tmp_path):
    page = browser.new_page()
    diary = Diary(page)
    page.goto(write_report(comparison, tmp_path / "report.html").as_uri())
    page.evaluate(
        """() => {
            const script = document.createElement('script');
            script.textContent = 'window.hacked = 3';
            const image = new Image();
            image.src = 'http://127.0.0.1:9/image.png';
            document.body.append(script, image);
            fetch('http://127.0.0.1:9/').catch(() => {});
        }"""
    )
    page.wait_for_timeout(200)
    assert page.evaluate("window.hacked") is None
    said = "\n".join(sorted(diary.said))
    for stopped in ("Executing inline script", "Connecting to", "Loading the image"):
        assert f"error: {stopped}" in said
    page.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_fits_the_screen(open_report, comparison, width):
    page = open_report(comparison, width)
    assert page.evaluate("document.documentElement.scrollWidth") == WIDTHS[width][0]
    for chart in ("signatures", "pair", "distances"):
        canvas = page.locator(f"#{chart} canvas").first.bounding_box()
        assert canvas["x"] >= 0
        assert canvas["x"] + canvas["width"] <= WIDTHS[width][0]
    page.set_viewport_size({"width": 700, "height": 800})
    expect(page.locator("#distances canvas").first).to_have_attribute("width", "668")


def test_the_table_with_all_its_columns_fits_a_wide_screen(open_report):
    published = {f"net{i}": {"accuracy": 0.7, "num_parameters": 123456789, "year": 2015} for i in range(9)}
    page = open_report(
        compare(networks(9), published=published, families={"ConvNextForImageClassification": "net[0-4]"})
    )
    page.set_viewport_size({"width": 1400, "height": 900})
    headings = page.locator("#table thead th").all_inner_texts()
    assert {"family", "undefined", "accuracy", "num parameters", "year"} < set(headings)
    table = page.locator("#networks .scroll")
    assert table.evaluate("box => box.scrollWidth - box.clientWidth") == 0


def test_a_column_without_any_content_is_left_out_of_the_table(open_report):
    page = open_report(compare([make_signature([0.5, 0.6, 0.7])]))
    headings = page.locator("#table thead th").all_inner_texts()
    assert "median" in headings
    assert not {"undefined", "accuracy", "num parameters"} & set(headings)


def test_one_network_has_no_pairs(open_report):
    page = open_report(compare(networks(1)))
    assert page.locator("#pairs").is_hidden()
    assert page.locator("#about").inner_text().startswith("1 network on")


def test_differences_are_said(open_report):
    first, second = networks(2)
    second.metadata["dataset"]["split"] = "train"
    page = open_report(compare([first, second], allow_differences=True))
    assert any("dataset.split is 'test' in net0 but 'train' in net1" in text for text in warnings(page))


def test_what_compare_warns_of_stands_on_the_page_where_scores_are_compared(open_report):
    cnn, vit = (
        make_signature([0.5, 0.6], name=name, channel_axis=[axis] * 2, evidence=["ok", word])
        for name, axis, word in (("cnn", 1, "ok"), ("vit", 2, "few_samples"))
    )
    for signature in (cnn, vit):
        signature.metadata["options"] = {"pooling": "paper"}
    with pytest.warns(AffscoreWarning, match="Features are channels"):
        compared = compare([cnn, vit])
    page = open_report(compared)
    said = [compared.mixed_pooling, "Distances include scores that are no evidence: 1 of 2 of vit."]
    assert warnings(page) == said * 2  # above all, and above the distances
    assert page.locator("section .warnings").count() == 1


def test_what_may_be_compared_freely_has_no_warning(open_report):
    assert (
        warnings(open_report(compare([make_signature([0.5, 0.6]), make_signature([0.4, 0.6], name="b")])))
        == []
    )


def test_a_long_table_is_short_until_all_is_asked_for(open_report):
    page = open_report(compare(networks(20, length=5)))
    assert len(names(page)) == 12
    page.get_by_role("button", name="Show all 20").click()
    assert len(names(page)) == 20
    page.get_by_role("button", name="Show the first 12").click()
    assert len(names(page)) == 12
    page.fill("#search", "net1")
    assert len(names(page)) == 11
    assert page.locator("#all").is_hidden()


@pytest.mark.slow
def test_a_hundred_networks_of_200_activations(open_report, tmp_path):
    page = open_report(compare(networks(100, length=200)))
    page.fill("#search", "net42")
    assert names(page) == ["net42"]
    assert (tmp_path / "report.html").stat().st_size < 10e6
    # The page's own processor time: what a clock says depends on what else the machine does.
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    metrics = {
        metric["name"]: metric["value"] for metric in session.send("Performance.getMetrics")["metrics"]
    }
    assert 0 < metrics["ProcessTime"] < 3


def test_the_same_comparison_gives_the_same_page(comparison):
    assert render_report(comparison) == render_report(comparison)


def test_what_cannot_be_written_is_said(comparison, tmp_path):
    with pytest.raises(InputError, match=r"expected one that ends in \.html"):
        write_report(comparison, tmp_path / "report.pdf")
    with pytest.raises(InputError, match=r"could not be written to .*Choose a folder that exists"):
        write_report(comparison, tmp_path / "missing" / "report.html")


def test_the_library_is_the_one_that_npm_serves():
    script = files("hf_affscore.report").joinpath("vendor", "echarts.min.js").read_bytes()
    expected = "b66b25aeb4df84e33199dc21694014d336d222cbd9deb0e5a7c14bd6aa0d0fd0"
    assert hashlib.sha256(script).hexdigest() == expected

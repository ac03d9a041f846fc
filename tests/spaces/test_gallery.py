"""The gallery Space: started as a Space starts it, driven in a browser."""

import asyncio
import functools
import importlib
import json
from importlib.resources import files

import gradio
import gradio_client
import pytest
from huggingface_hub import RepoCard
from playwright.sync_api import expect

import hf_affscore
from hf_affscore.cli import main
from hf_affscore.comparison import compare
from hf_affscore.errors import HubError, InputError
from hf_affscore.report import render_report
from hf_affscore.spaces.push import push_gallery
from tests.browser import Diary, chromium
from tests.signatures import make_signature
from tests.spaces.serving import serving

APP = files("hf_affscore").joinpath("spaces", "gallery", "app.py")


def gallery():
    return importlib.import_module("hf_affscore.spaces.gallery.app")


def signatures():
    for name, base in (("a<b>", 0.2), ("b", 0.3), ("c", 0.9)):
        scores = [base, base + 0.05, base, base - 0.1]
        yield make_signature(scores, name=name, cka=scores)


@pytest.fixture(name="folder")
def _folder(tmp_path):
    for signature in signatures():
        signature.save_pretrained(tmp_path / "signatures" / signature.name[0])
    return tmp_path / "signatures"


@pytest.fixture(name="address", scope="module")
def _address(tmp_path_factory):
    """The gallery of a folder, served once for people and programs."""
    folder = tmp_path_factory.mktemp("gallery")
    for signature in signatures():
        signature.save_pretrained(folder / signature.name[0])
    with serving(APP, AFFSCORE_COLLECTION=str(folder)) as address:
        yield address


@pytest.mark.slow
def test_the_gallery_shows_a_folder_and_refuses_others(address, folder):
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        diary = Diary(page)
        page.goto(address)
        report = page.frame_locator("iframe[title=Report]")
        expect(report.locator("#about")).to_have_text(
            "3 networks on 64 images of cifar10, test.", timeout=60_000
        )
        expect(report.locator("td.name").filter(has_text="a<b>")).to_have_count(1)
        report.get_by_role("button", name="Clear selection").click()
        report.get_by_label("c", exact=True).check()
        expect(report.locator("#pair-note")).to_contain_text("1 selected")
        page.get_by_role("tab", name="Pictures").click()
        expect(page.get_by_test_id("matplotlib").locator("img")).to_have_count(4, timeout=30_000)
        for caption in gallery().PICTURES:
            expect(page.get_by_text(caption)).to_be_visible()
        page.get_by_label("Collection").fill(str(folder / "b"))
        page.get_by_role("button", name="Show").click()
        expect(
            page.get_by_text("is no repository; expected the name of a public repository such as user/name")
        ).to_be_visible()
        assert diary.said == []
        assert {url for url in diary.requested if not url.startswith((address, "data:", "blob:"))} <= {
            "about:srcdoc"
        }


@pytest.mark.slow
@pytest.mark.parametrize("width", [1400, 390])
def test_one_title_and_one_thing_that_scrolls(address, width):
    """The report scrolls in its frame, the page around it does not; pictures scroll sideways where they must."""
    with chromium() as browser:
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.goto(address)
        report = page.frame_locator("iframe[title=Report]")
        expect(report.locator("h1")).to_have_count(1, timeout=60_000)
        expect(page.locator("h1")).to_have_count(0)
        size = "[document.documentElement.scrollHeight, document.documentElement.scrollWidth]"
        assert page.evaluate(size) == [900, width]
        frame = page.locator("iframe").bounding_box()
        assert frame["width"] >= 0.95 * width
        assert frame["height"] > 600
        page.get_by_role("tab", name="Pictures").click()
        pictures = page.get_by_test_id("matplotlib").locator("img")
        expect(pictures).to_have_count(4, timeout=30_000)
        for box in (picture.bounding_box() for picture in pictures.all()):
            assert box["width"] >= 640, "smaller letters cannot be read"
            assert box["x"] >= 0, "what is cut off on the left cannot be reached"
        assert page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.slow
def test_programs_get_json(address):
    client = gradio_client.Client(address, verbose=False)
    listed = client.predict(api_name="/signatures")
    assert [one["network"] for one in listed] == ["a<b>", "b", "c"]
    assert listed[1]["summary"]["median"] == pytest.approx(0.3)
    assert listed[1]["verdict"]
    one = client.predict(network="b", api_name="/signature")
    assert [row["affinity_score"] for row in one["rows"]] == pytest.approx([0.3, 0.35, 0.3, 0.2])
    expected = compare(list(signatures()), allow_differences=True).to_dict()
    assert client.predict(api_name="/compare") == expected
    two = client.predict(networks=["c", "b"], api_name="/compare")
    assert [line["network"] for line in two["networks"]] == ["c", "b"]
    said = "No network is called 'bb'; expected a<b> or b or c"
    for asked in ({"network": "bb", "api_name": "/signature"}, {"networks": ["bb"], "api_name": "/compare"}):
        with pytest.raises(gradio_client.exceptions.AppError, match=said):
            client.predict(**asked)
    with pytest.raises(gradio_client.exceptions.AppError, match="is no repository"):
        client.predict(collection="/etc", api_name="/signatures")
    assert set(client.view_api(return_format="dict")["named_endpoints"]) == {
        "/signatures",
        "/signature",
        "/compare",
    }


@pytest.mark.slow
def test_agents_get_the_same_as_tools(address):
    """Over MCP: what a tool is for, what each argument is, JSON, and errors as sentences."""
    mcp = pytest.importorskip("mcp", reason="an extra of Gradio")
    from mcp.client.streamable_http import streamable_http_client

    async def talk():
        async with (
            streamable_http_client(f"{address}gradio_api/mcp/") as (read, write, *_),
            mcp.ClientSession(read, write) as session,
        ):
            await session.initialize()
            tools = (await session.list_tools()).tools
            calls = [("signature", {"network": "b"}), ("signature", {"network": "bb"})]
            return tools, [await session.call_tool(name, arguments) for name, arguments in calls]

    tools, (answer, refused) = asyncio.run(talk())
    assert {tool.name for tool in tools} == {"signatures", "signature", "compare"}
    for tool in tools:
        assert len(tool.description) > 80
        assert all(len(field["description"]) > 20 for field in tool.inputSchema["properties"].values())
        assert "request" not in tool.inputSchema["properties"]
    (signature,) = (tool for tool in tools if tool.name == "signature")
    assert signature.inputSchema["required"] == ["network"]
    document = json.loads(answer.content[0].text)
    assert [row["affinity_score"] for row in document["rows"]] == pytest.approx([0.3, 0.35, 0.3, 0.2])
    assert refused.isError
    assert "No network is called 'bb'" in refused.content[0].text


@pytest.fixture(name="collection")
def _collection(hub):
    for signature in signatures():
        signature.push_to_hub("ada/signatures", token=hub.token("ada"))
    return hub


def push(hub, *options):
    with pytest.raises(SystemExit) as stop:
        main(
            [
                *("space", "push", "ada/gallery", "--signatures", "ada/signatures"),
                *("--token", hub.token("ada", pays="gradio" in options), *options),
            ]
        )
    return stop.value.code


def test_a_gallery_is_a_static_page_made_anew_at_each_push(collection, capsys):
    for _ in range(2):  # the same again changes nothing
        assert push(collection) == 0
    assert capsys.readouterr().out.split() == [f"{collection.endpoint}/spaces/ada/gallery"] * 2
    assert collection.repo("space", "ada/gallery").sdk == "static"
    pushed = collection.files("space", "ada/gallery")
    assert set(pushed) == {"README.md", "index.html"}
    card = RepoCard(pushed["README.md"].decode(), ignore_metadata_errors=False)
    assert (card.data.sdk, card.data.app_file) == ("static", "index.html")
    assert "[ada/signatures](https://huggingface.co/datasets/ada/signatures)" in card.text
    assert pushed["index.html"].decode() == render_report(compare(["ada/signatures"]))
    assert len(collection.repo("space", "ada/gallery").history()) == 2
    make_signature([0.5], name="new").push_to_hub("ada/signatures", token=collection.token("ada"))
    assert push(collection) == 0
    assert b'"new"' in collection.files("space", "ada/gallery")["index.html"]


@pytest.mark.slow
def test_the_static_page_works_in_a_browser_without_a_server(collection, tmp_path):
    push(collection)
    for name, content in collection.files("space", "ada/gallery").items():
        (tmp_path / name).write_bytes(content)
    with chromium() as browser:
        page = browser.new_page()
        diary = Diary(page)
        page.goto((tmp_path / "index.html").as_uri())
        expect(page.locator("#about")).to_have_text("3 networks on 64 images of cifar10, test.")
        assert diary.said == []


def test_a_gradio_gallery_is_for_those_who_pay(hub):
    with pytest.raises(HubError, match=r"paid account \(402\).*--sdk static"):
        push_gallery("ada/gallery", "ada/signatures", sdk="gradio", token=hub.token("ada"))
    assert push(hub, "--sdk", "gradio") == 0
    pushed = hub.files("space", "ada/gallery")
    assert pushed["collection.txt"] == b"ada/signatures\n"
    assert pushed["page.py"] == APP.read_bytes()
    assert set(pushed) >= {"README.md", "app.py", "requirements.txt"}
    card = RepoCard(pushed["README.md"].decode(), ignore_metadata_errors=False).data
    assert (card.sdk, card.app_file) == ("gradio", "app.py")
    assert hub.repo("space", "ada/gallery").sdk == "gradio"


def test_a_private_collection_makes_no_public_page(collection):
    collection.repo("dataset", "ada/signatures").private = True
    token = collection.token("ada")
    with pytest.raises(InputError, match="would show it to everybody"):
        push_gallery("ada/gallery", "ada/signatures", token=token)
    push_gallery("ada/gallery", "ada/signatures", private=True, token=token)
    assert collection.repo("space", "ada/gallery").private
    push_gallery("ada/gallery", "ada/signatures", token=token)
    collection.repo("space", "ada/gallery").private = False
    with pytest.raises(InputError, match="would show it to everybody"):
        push_gallery("ada/gallery", "ada/signatures", private=True, token=token)


def test_a_folder_with_the_name_of_the_collection_is_not_published(collection, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_signature([0.5], name="unpublished").save_pretrained(tmp_path / "ada" / "signatures")
    push(collection)
    assert b"unpublished" not in collection.files("space", "ada/gallery")["index.html"]


@pytest.fixture(name="secret")
def _secret(collection, tmp_path, monkeypatch):
    """A machine with a private signature in many places, and the token of its owner."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    hidden = make_signature([0.5, 0.6], name="unpublished")
    folder = hidden.save_pretrained(tmp_path / "private" / "unpublished")
    (tmp_path / "link").symlink_to(folder)
    (tmp_path / "ada").mkdir()
    (tmp_path / "ada" / "signatures").symlink_to(folder)
    hidden.push_to_hub("ada/secret", private=True, token=collection.token("ada"))
    hf_affscore.load_signatures("ada/secret", token=collection.token("ada"))  # and in the cache
    monkeypatch.setenv("HF_TOKEN", collection.token("ada"))
    return collection


PLACES = [
    "private/unpublished",
    "./private/unpublished",
    "private",
    "link",
    "ada/signatures",
    "~/private/unpublished",
    "{here}/private/unpublished",
    "file://{here}/private/unpublished",
    "hf://datasets/ada/secret",
    "hf://ada/secret",
    "datasets/ada/secret",
    "ada/secret",
    "../{name}/private/unpublished",
    ".",
    "",
]


@pytest.mark.parametrize("offline", [False, True])
def test_a_visitor_reads_neither_the_machine_nor_what_its_token_opens(secret, tmp_path, monkeypatch, offline):
    """By no endpoint; one test for all places, since what it takes to make them ready is most of the time."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
    page = gallery()
    for place in PLACES:
        asked = place.format(here=tmp_path, name=tmp_path.name)
        for ask in (
            page.show,
            page.signatures,
            page.compare,
            functools.partial(page.signature, "unpublished"),
        ):
            with pytest.raises(gradio.Error, match=r"is no repository|was not found|could not be reached"):
                ask(asked)


def test_in_a_space_no_folder_is_shown_whoever_names_it(secret, tmp_path, monkeypatch):
    page = gallery()
    monkeypatch.setenv("AFFSCORE_COLLECTION", "private/unpublished")
    assert "unpublished" in page.show("private/unpublished")[0]
    assert page.signatures()[0]["network"] == "unpublished"
    monkeypatch.setenv("SPACE_ID", "ada/gallery")
    for ask in (page.show, page.signatures):
        with pytest.raises(gradio.Error, match="is no repository"):
            ask("private/unpublished")


def test_a_space_cannot_show_this_machine(hub):
    with pytest.raises(InputError, match="expected a data set on the Hub such as user/signatures"):
        push_gallery("ada/gallery", "/home/ada/signatures", token=hub.token("ada"))


@pytest.mark.slow
def test_a_pushed_gallery_shows_its_collection_on_the_hub(hub, tmp_path):
    for signature in signatures():
        signature.push_to_hub("ada/signatures", token=hub.token("ada"))
    push_gallery("ada/gallery", "ada/signatures", sdk="gradio", token=hub.token("ada", pays=True))
    for name, content in hub.files("space", "ada/gallery").items():
        (tmp_path / name).write_bytes(content)
    with serving(tmp_path / "app.py") as address, chromium() as browser:
        page = browser.new_page()
        page.goto(address)
        about = page.frame_locator("iframe[title=Report]").locator("#about")
        expect(about).to_have_text("3 networks on 64 images of cifar10, test.", timeout=60_000)
        page.get_by_label("Collection").fill("ada/none")
        page.get_by_role("button", name="Show").click()
        expect(page.get_by_text("'ada/none' was not found")).to_be_visible(timeout=30_000)

"""JupyterLab, started for real and driven by a headless browser: notebook 01 as a student meets it."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request

import chromium
import nbformat
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from locadv_tf.reports import notebooks

NOTEBOOK = "01_localized_attacks"
pytestmark = chromium.needs_chromium("JupyterLab")

PATIENCE = 240  # seconds: a busy machine takes its time; a healthy one needs a fifth of it
CELLS = "return window.jupyterapp.shell.currentWidget.content.model.sharedModel.toJSON().cells"
ALT = "return document.querySelector('.widget-vbox img')?.alt"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The address of a JupyterLab with a folder and settings of its own, which holds notebook 01, made small."""
    home = tmp_path_factory.mktemp("lab")
    settings = {
        "notebook-extension/tracker": {"windowingMode": "none"},  # cells out of sight stay in the page
        "apputils-extension/notification": {"fetchNews": "false"},
    }
    for name, values in settings.items():
        path = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(values))
    folder = home / "notebooks"
    folder.mkdir()
    nbformat.write(small_notebook(), folder / f"{NOTEBOOK}.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {f"JUPYTER_{name}_DIR": str(home / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    own |= {"JUPYTERLAB_SETTINGS_DIR": str(home / "settings"), "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces")}
    own |= {"IPYTHONDIR": str(home / "ipython"), "PYTHONPATH": str(notebooks.NOTEBOOKS.parent)}
    options = [
        "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0",
        f"--ServerApp.root_dir={folder}", "--IdentityProvider.token=", "--LabApp.expose_app_in_browser=True",
        "--LabApp.extension_manager=readonly", "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]  # fmt: skip
    with (home / "server.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options],
            env=os.environ | own, stdout=log, stderr=log,
        )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        until(lambda: answers(f"{address}/api/status", server), "JupyterLab answers", log=home / "server.log")
        yield address
    finally:
        server.terminate()  # it ends its kernels, too
        try:
            server.wait(60)
        except subprocess.TimeoutExpired:
            server.kill()  # a kernel that misses its parent ends by itself
            server.wait()


def small_notebook():
    """Notebook 01 with the parameters of the smoke profile, as papermill would set them."""
    path = notebooks.notebook_path(NOTEBOOK)
    notebook = nbformat.read(path, as_version=4)
    values = notebooks.check_parameters(path, notebooks.profile_parameters("smoke"), known_only=True)
    at = next(i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", []))
    lines = [f"{name} = {value!r}" for name, value in values.items()] + ["output_dir = 'run'"]
    notebook.cells.insert(at + 1, nbformat.v4.new_code_cell("\n".join(lines)))
    return notebook


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A headless Chromium with a profile of its own."""
    driver = chromium.start(tmp_path_factory.mktemp("profile"))
    try:
        yield driver
    finally:
        driver.quit()


def answers(address, server):
    assert server.poll() is None, "JupyterLab ended by itself"
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(address, timeout=5) as page:
            return page.status == 200
    except OSError:
        return False


def until(condition, what, *, log=None):
    """Waits until the condition holds, and returns what it gave."""
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, f"waited {PATIENCE} s in vain: {what}. {log.read_text()[-2000:] if log else ''}"
        time.sleep(0.2)
    return found


@pytest.fixture(scope="module")
def page(lab, browser):
    """The browser, with notebook 01 open and all of its cells run."""
    browser.get(f"{lab}/lab/tree/{NOTEBOOK}.ipynb")
    ready = """
        const notebook = window.jupyterapp?.shell?.currentWidget;
        const session = notebook?.context?.sessionContext;
        return Boolean(notebook?.context?.isReady && session?.isReady && session.session?.kernel?.status === "idle");
    """
    until(lambda: browser.execute_script(ready), "the notebook is open and its kernel idle")
    browser.execute_script("""
        window.finished = false;
        window.jupyterapp.commands.execute("notebook:run-all-cells").finally(() => { window.finished = true; });
    """)
    until(lambda: browser.execute_script("return window.finished"), "all cells are run")
    return browser


def test_notebook_01_runs_without_an_error(page):
    code = [cell for cell in page.execute_script(CELLS) if cell["cell_type"] == "code"]
    outputs = [output for cell in code for output in cell["outputs"]]
    assert [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"] == []
    assert len(code) > 15 and all(cell["execution_count"] for cell in code)
    assert "google.colab" in code[-1]["source"] and "write_metrics" in code[-2]["source"]  # the last cells ran as well
    widgets = [output for output in outputs if "application/vnd.jupyter.widget-view+json" in output.get("data", {})]
    assert len(widgets) == 2


def test_the_sliders_move_the_picture(page, tmp_path):
    until(lambda: page.execute_script(ALT), "the widget shows its picture")
    panel = page.find_element(By.CSS_SELECTOR, ".widget-vbox")
    labels = [label.text for label in panel.find_elements(By.CSS_SELECTOR, ".widget-label") if label.text]
    assert labels == ["image", "eps (n/255)", "steps", "region"]
    page.execute_script("arguments[0].scrollIntoView()", panel)

    def changes(act, expected):
        before = page.execute_script(ALT)
        act()
        until(lambda: page.execute_script(ALT) != before and expected in page.execute_script(ALT), expected)

    image, eps, steps = panel.find_elements(By.CSS_SELECTOR, ".noUi-handle")
    changes(lambda: eps.send_keys(Keys.ARROW_LEFT), "PGD-5, eps = 3.5/255 on the region background")
    changes(lambda: steps.send_keys(Keys.ARROW_RIGHT), "PGD-6, eps = 3.5/255")
    region = Select(panel.find_element(By.CSS_SELECTOR, "select"))
    changes(lambda: region.select_by_visible_text("full"), "on the region full")
    changes(lambda: image.send_keys(Keys.ARROW_RIGHT), "PGD-6")
    assert page.save_screenshot(tmp_path / "sliders.png")

    # Faster than the pictures come: most of those in between are left out, and the last one is the right one.
    page.execute_script("""
        window.pictures = 0;
        new MutationObserver(() => { window.pictures += 1; }).observe(arguments[0], {childList: true, subtree: true});
    """, panel.find_element(By.CSS_SELECTOR, ".widget-html-content"))  # fmt: skip
    back_and_forth = (Keys.ARROW_RIGHT + Keys.ARROW_LEFT) * 20 + Keys.ARROW_LEFT * 5
    changes(lambda: eps.send_keys(back_and_forth), "PGD-6, eps = 1/255")
    assert 0 < page.execute_script("return window.pictures") < 45


def test_a_click_paints_a_square(page):
    share = "return document.querySelector('.widget-hbox img')?.alt"
    before = until(lambda: page.execute_script(share), "what is painted is shown")
    square = page.find_elements(By.CSS_SELECTOR, ".widget-gridbox button")[-1]
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", square)
    square.click()
    until(lambda: page.execute_script(share) != before, "a click paints more")


def test_every_picture_is_shown_and_has_its_text(page, tmp_path):
    pictures = page.find_elements(By.CSS_SELECTOR, ".jp-OutputArea-output img")
    assert len(pictures) == 7
    for number, picture in enumerate(pictures):
        page.execute_script("arguments[0].scrollIntoView()", picture)
        page.save_screenshot(tmp_path / f"picture-{number}.png")
        assert int(picture.get_property("naturalWidth")) > 300 and len(picture.get_property("alt")) > 20
    severe = [entry["message"] for entry in page.get_log("browser") if entry["level"] == "SEVERE"]
    assert [message for message in severe if "colab-badge" not in message] == []  # that picture is on the network

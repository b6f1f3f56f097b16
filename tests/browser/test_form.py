"""A person starts a workflow with the form in Airflow's UI, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.support import Platform

pytestmark = pytest.mark.browser

CHROMIUM = "/usr/bin/chromium"
OPTIONS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
"""Nothing of it is to call anybody but the page's own server."""

PATIENCE_MS = 120_000
"""On a busy machine Airflow's UI takes its time."""
expect.set_options(timeout=PATIENCE_MS)

WORKFLOW: dict[str, Any] = {
    "id": "by_browser", "name": "Refund <b>desk</b>", "version": "1", "trigger": {"type": "manual"},
    "input": {
        "type": "object",
        "properties": {
            "customer": {"type": "string", "title": "Customer", "minLength": 3},
            "amount": {"type": "number", "title": "Amount", "minimum": 0},
            "reason": {"enum": ["broken", "late"], "title": "Reason"},
        },
        "required": ["customer", "amount"],
        "additionalProperties": False,
    },
    "tasks": [
        {
            "id": "say", "type": "transform",
            "config": {"set": {"text": "{{ input.customer }}: {{ input.amount }} ({{ input.reason }})"}},
        },
    ],
    "output": {"text": "{{ say.output.text }}"},
}  # fmt: skip


@pytest.fixture
def page(platform: Platform) -> Iterator[Page]:
    """A browser that is signed in to Airflow."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        page = browser.new_context(
            base_url=platform.home.airflow_url, viewport={"width": 1300, "height": 900}
        ).new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.goto("/")
        page.get_by_label("Username").fill(platform.state["airflow_username"])
        page.get_by_label("Password").fill(platform.state["airflow_password"])
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("link", name="Dags").first.wait_for()
        yield page
        browser.close()


def test_start(platform: Platform, page: Page) -> None:
    """Too short a name is refused beside its field; the second try starts a run, which the link leads to."""
    published = platform.publish(WORKFLOW)
    dag_id = published["dag_id"]
    platform.until(lambda: platform.airflow_has(dag_id, published["digest"]))
    page.goto(f"/dags/{dag_id}")
    page.get_by_text("Start with a form").click()
    form = page.frame_locator("iframe")
    # Markup in a name is text.
    expect(form.get_by_role("heading")).to_have_text("Refund <b>desk</b>")
    form.get_by_label("Customer").fill("Al")
    form.get_by_label("Amount").fill("12.5")
    form.get_by_label("Reason").select_option(label="late")
    form.get_by_role("button", name="Start").click()
    expect(form.locator("p.problem")).to_have_text("'Al' is too short")
    expect(form.get_by_label("Amount")).to_have_value("12.5")
    form.get_by_label("Customer").fill("Ada\nLovelace {{ 7 * 7 }}")
    form.get_by_role("button", name="Start").click()
    expect(form.get_by_role("status")).to_have_text("Started.")
    run_id = str(form.get_by_text("in the tab Runs").text_content()).split()[1].rstrip(":")
    execution = platform.wait(run_id)
    assert execution["output"] == {"text": "Ada\nLovelace {{ 7 * 7 }}: 12.5 (late)"}
    page.get_by_role("tab", name="Runs").or_(page.get_by_role("link", name="Runs", exact=True)).first.click()
    page.locator(f"a[href*='{run_id}']").first.click()
    page.wait_for_url(f"**/dags/{dag_id}/runs/{run_id}**")
    expect(page.get_by_text("Success").first).to_be_visible()


def test_by_its_own_address(platform: Platform, page: Page) -> None:
    """Outside of Airflow's frame the page has a link to the run."""
    published = platform.publish(WORKFLOW)
    dag_id = published["dag_id"]
    page.goto(f"/agent-factory/dags/{dag_id}/form")
    page.get_by_role("link", name="Enter the input as JSON").click()
    page.get_by_label("Input").fill('{"customer": "Ada", "amount": 1, "reason": "late"}')
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("status")).to_have_text("Started.")
    link = page.get_by_role("link", name="in Airflow")
    run_id = str(link.get_attribute("href")).rpartition("/")[2]
    # The answer is of a POST: a reload sends the form again.
    page.reload()
    expect(page.get_by_role("status")).to_have_text("Started before.")
    assert str(link.get_attribute("href")).endswith(run_id)
    assert platform.wait(run_id)["status"] == "success"
    link.click()
    expect(page.get_by_text("Success").first).to_be_visible()

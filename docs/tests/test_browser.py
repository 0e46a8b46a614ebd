"""What a reader does: go from page to page, search, switch tabs, on a phone and on a desk."""

import re

import pytest

SCREENS = {"phone": {"width": 390, "height": 844}, "desktop": {"width": 1280, "height": 800}}
SCHEMES = ("light", "dark")


@pytest.fixture
def page(browser, site):
    """An empty page at desktop width that remembers what the browser complained about."""
    with browser.new_context(viewport=SCREENS["desktop"], base_url=site.address) as context:
        stay_home(context, site)
        opened = context.new_page()
        opened.complaints = []
        opened.on("pageerror", lambda error: opened.complaints.append(str(error)))
        opened.on("response", lambda response: note_failure(opened, response))
        yield opened
    assert opened.complaints == []


def stay_home(context, site):
    """Asks no other server, such as the one that counts the stars of the repository."""
    elsewhere = re.compile(f"^(?!{re.escape(site.address)})")
    context.route(elsewhere, lambda route: route.abort())


def note_failure(page, response):
    if not response.ok and response.status != 304:
        page.complaints.append(f"{response.status} {response.url}")


def test_navigation_leads_to_each_section(page, site):
    page.goto("")
    tabs = page.locator(".md-tabs__link").all_inner_texts()
    assert [tab.strip() for tab in tabs] == [
        "Overview",
        "JAX for PyTorch users",
        "Tutorials",
        "Guides",
        "Integrations",
        "Changing over",
        "Packages",
        "Concepts",
        "Reference",
        "Project",
    ]
    for tab in tabs:
        page.locator(
            ".md-tabs__link", has_text=re.compile(f"^\\s*{re.escape(tab.strip())}\\s*$")
        ).click()
        page.wait_for_load_state()
        assert tab.strip() in page.locator(".md-tabs__item--active").inner_text()
        assert page.locator("article h1").count() == 1


def test_footer_leads_through_all_pages_of_the_navigation(page, site):
    page.goto("")
    seen = [page.url]
    while page.locator(".md-footer__link--next").count():
        page.locator(".md-footer__link--next").click()
        page.wait_for_load_state()
        assert page.url not in seen
        seen.append(page.url)
    assert {url.removeprefix(site.address) for url in seen} == set(site.pages)


def test_search_finds_a_page(page):
    page.goto("")
    page.locator(".md-search__input").fill("preallocation")
    result = page.locator(".md-search-result__link").first
    result.wait_for()
    result.click()
    page.wait_for_load_state()
    assert "guides/jax-for-pytorch-users/memory/" in page.url
    assert page.locator("h2#preallocation").is_visible()


def test_a_tab_that_is_chosen_is_chosen_everywhere(page):
    page.goto("guides/jax-for-pytorch-users/derivatives/")
    page.locator(".tabbed-labels label", has_text="pax_jax").first.click()
    shown = page.locator(".tabbed-block:visible").all_inner_texts()
    assert len(shown) >= 4
    assert all("jax" in text for text in shown)
    page.goto("guides/jax-for-pytorch-users/models/")
    assert page.locator(".tabbed-block:visible").first.inner_text().startswith("import pax_jax")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("screen", SCREENS)
def test_pages_fit_the_screen(browser, site, screen, scheme, request):
    folder = request.config.getoption("--screenshots")
    with browser.new_context(
        viewport=SCREENS[screen], color_scheme=scheme, base_url=site.address
    ) as context:
        stay_home(context, site)
        page = context.new_page()
        too_wide = []
        for path in site.pages:
            page.goto(path)
            width = page.evaluate("document.scrollingElement.scrollWidth")
            if width > SCREENS[screen]["width"]:
                too_wide.append((path, width))
            if folder:
                name = f"{screen}-{scheme}-{path.strip('/').replace('/', '-') or 'index'}.png"
                page.screenshot(path=folder / name, full_page=True)
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert too_wide == []
    assert (background == "rgb(253, 252, 249)") == (scheme == "light")

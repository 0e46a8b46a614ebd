"""Every link within the site leads to a page, and to a place on it, that exist."""

from html.parser import HTMLParser
from urllib.parse import unquote, urljoin, urlsplit

BASE = "http://site/"


class Page(HTMLParser):
    """The targets that a page has and those that it names."""

    def __init__(self, text):
        super().__init__()
        self.anchors, self.targets = {"", "__top"}, set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.anchors.update(attributes[key] for key in ("id", "name") if attributes.get(key))
        self.targets.update(attributes[key] for key in ("href", "src") if attributes.get(key))


def read(site):
    pages = {}
    for file in site.files:
        path = file.relative_to(site.folder).as_posix()
        address = path.removesuffix("index.html") if path.endswith("index.html") else path
        pages[BASE + address] = Page(file.read_text(encoding="utf-8"))
    return pages


def dead_links(site):
    pages = read(site)
    for address, page in pages.items():
        for target in page.targets:
            link = urlsplit(urljoin(address, target))
            if link.netloc != "site":
                continue
            place = f"{BASE}{link.path[1:]}"
            if place in pages:
                if unquote(link.fragment) not in pages[place].anchors:
                    yield address, target
            elif not (site.folder / unquote(link.path[1:])).is_file():
                yield address, target


def test_no_internal_link_is_dead(site):
    assert sum(len(page.targets) for page in read(site).values()) > 1000
    # The page that a server shows for an unknown address cannot know how deep it is.
    dead = [(page, link) for page, link in dead_links(site) if not page.endswith("/404.html")]
    assert dead == []

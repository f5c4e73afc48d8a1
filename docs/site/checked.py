"""Looks at a built site: links inside it, what it would fetch, alternative texts, tags that overlap."""

import os
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

NESTED = ("article", "details", "div", "main", "section", "table")
FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src"}
OUTSIDE = re.compile(r"^(?:[a-z][a-z+.-]*:|//)", re.IGNORECASE)


class Page(HTMLParser):
    """One page: its `ids`, its `links`, what it `fetches`, and what is `wrong` in itself."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.fetches, self.wrong, self.open, self.style = set(), [], [], [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.ids |= {given[name] for name in ("id", "name") if given.get(name)}
        if tag in NESTED:
            self.open.append(tag)
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag == "link" and "href" in given:
            relation = given.get("rel", "")
            (self.links if relation in ("index", "search", "next", "prev") else self.fetches).append(given["href"])
        if given.get(FETCHED.get(tag, "")):
            self.fetches.append(given[FETCHED[tag]])
        if tag == "img" and not (given.get("alt") or "").strip():
            self.wrong.append(f"a picture without alternative text: {given.get('src', '')[:60]}")
        self.style = tag == "style"
        self.fetches += re.findall(r"url\(\s*['\"]?([^'\")]+)", given.get("style") or "")

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag in NESTED:
            self.open.pop()

    def handle_endtag(self, tag):
        self.style = False
        if tag in NESTED and (not self.open or self.open.pop() != tag):
            self.wrong.append(f"</{tag}> closes something else, at {self.getpos()}")

    def handle_data(self, data):
        if self.style:
            self.fetches += fetched_by(data)


def fetched_by(css):
    """What a style sheet fetches."""
    return re.findall(r"(?:url\(|@import)\s*['\"]?([^'\");]+)", css)


def problems(folder):
    """What is wrong with the site in a folder, as lines; none is good."""
    folder = Path(folder)
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.html"))}
    pages = {path: page for path, page in pages.items() if path.relative_to(folder).parts[0] != "_static"}
    found = []
    for path, page in pages.items():
        said = [*page.wrong]
        said += [f"fetches {what} from elsewhere" for what in page.fetches if outside(what)]
        said += [f"{link} leads nowhere" for link in page.links if not outside(link) and not there(path, link, pages)]
        said += [
            f"{what} is not there" for what in page.fetches if not OUTSIDE.match(what) and not there(path, what, {})
        ]
        found += [f"{path.relative_to(folder)}: {each}" for each in dict.fromkeys(said)]
    for path in sorted(folder.rglob("*.css")):
        fetches = fetched_by(path.read_text(encoding="utf-8"))
        found += [f"{path.relative_to(folder)}: fetches {what}" for what in fetches if outside(what)]
    return found if pages else [f"there is no page in {folder}"]


def outside(link):
    return bool(OUTSIDE.match(link)) and not link.startswith("data:")


def there(path, link, pages):
    """Whether a link that stands in a page leads to a file, and to a place in it."""
    parts = urlsplit(link)
    target = Path(os.path.normpath(path.parent / unquote(parts.path))) if parts.path else path
    if not target.is_file():
        return False
    return not parts.fragment or target not in pages or unquote(parts.fragment) in pages[target].ids

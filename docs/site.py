"""What the site adds to docs/: the repository's own pages, and every source file that a page links to.

Links are written for a reader of the repository. Those that lead out of docs/ are turned here, so that the site stands
by itself: README.md is its first page, and a linked file is a page with its text.
"""

import os
import re
from pathlib import Path

from mkdocs.structure.files import File, InclusionLevel

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
LINK = re.compile(r"(\]\()(?!\w+:|#)([^)\s#]+)")


def place(target: Path) -> str:
    """Where a file of the repository lies on the site, from the top of docs/."""
    name = target.relative_to(ROOT).as_posix()
    if target.is_relative_to(DOCS):
        return target.relative_to(DOCS).as_posix()
    return PAGES.get(name, f"source/{name}.md")


def turned(markdown: str, origin: Path) -> str:
    """The text of a repository's file with its links as the site has them."""
    here = Path(place(origin)).parent

    def turn(link: re.Match) -> str:
        target = (origin.parent / link[2]).resolve()
        inside = target.is_relative_to(DOCS) and origin.is_relative_to(DOCS)
        if inside or not target.is_file():
            return link[0]  # what leads nowhere stays as it is, and MkDocs says so
        return link[1] + Path(os.path.relpath(place(target), here)).as_posix()

    return LINK.sub(turn, markdown)


def on_files(files, config):
    origins = [*(ROOT / name for name in PAGES), *DOCS.rglob("*.md")]
    for name, page in PAGES.items():
        text = turned((ROOT / name).read_text(encoding="utf-8"), ROOT / name)
        files.append(File.generated(config, page, content=text))
    targets = {
        (origin.parent / link[2]).resolve()
        for origin in origins
        for link in LINK.finditer(origin.read_text(encoding="utf-8"))
    }
    for target in sorted(targets):
        if not target.is_file() or target.is_relative_to(DOCS) or target.name in PAGES:
            continue
        name = target.relative_to(ROOT).as_posix()
        language = {".py": "python", ".yaml": "yaml"}.get(target.suffix, "text")
        text = target.read_text(encoding="utf-8")
        content = f"---\nsearch: {{exclude: true}}\n---\n# {name}\n\n````{language}\n{text}\n````\n"
        files.append(File.generated(config, place(target), content=content, inclusion=InclusionLevel.NOT_IN_NAV))
    return files


def on_page_markdown(markdown, page, config, files):
    origin = DOCS / page.file.src_uri
    return turned(markdown, origin) if origin.is_file() else markdown

"""The notebooks of the site are whole, say what their pages say, and run from top to bottom in a kernel."""

import re

import nbformat
import pytest
from nbclient import NotebookClient

import notebooks

PAGES = notebooks.pages()


def read(page, site="https://site/"):
    return nbformat.reads(notebooks.notebook(page, site), as_version=4)


@pytest.mark.parametrize("page", PAGES)
def test_notebook_runs(page):
    notebook = read(page)
    nbformat.validate(notebook)
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))


@pytest.mark.parametrize("page", PAGES)
def test_site_has_the_notebook_beside_its_page(site, page):
    folder = site.folder / page.removesuffix(".md")
    file = folder.with_suffix(".ipynb")
    nbformat.validate(nbformat.reads(file.read_text(encoding="utf-8"), as_version=4))
    text = (folder / "index.html").read_text(encoding="utf-8")
    assert f'href="../{file.name}"' in text
    assert "download" in re.search(rf'<a [^>]*href="../{file.name}"[^>]*>', text)[0]


@pytest.mark.parametrize("page", PAGES)
def test_links_of_a_notebook_lead_to_pages(site, page):
    text = "\n".join(cell.source for cell in read(page).cells if cell.cell_type == "markdown")
    links = re.findall(r"\]\(https://site/([^)#]*)", text)
    assert "installation/" in links
    assert [link for link in links if not (site.folder / link).exists()] == []

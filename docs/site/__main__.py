"""``python -m docs.site``: collects the site's pages in ``build/pages``, from which ``make docs`` builds the site."""

from docs.site.pages import ROOT, collect

collect(ROOT / "build" / "pages")

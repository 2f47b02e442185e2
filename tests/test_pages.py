"""Lists come in pages: every item once, in whatever size of page."""
import pytest

from manifests import pool


def pages(muster, path, limit):
    """The items of each page, following `next`."""
    found, after = [], ""
    for _ in range(50):
        page = muster.call("GET", f"{path}?limit={limit}{after}")
        found.append(page["items"])
        if not page.get("next"):
            return found
        after = f"&after={page['next']}"
    raise AssertionError(f"{path} has no last page")


def fill(site):
    for name in ("a", "b", "c", "d", "e"):
        site.call("PUT", f"/v1/secrets/vision/{name}", {"value": name})
        site.call("POST", "/v1/tokens", {"user": name})
        site.apply(pool(f"pool-{name}"))


@pytest.mark.parametrize("limit", [1, 2, 5, 100])
def test_every_item_of_a_list_is_on_one_page(site, limit):
    fill(site)
    for path, key in (("/v1/secrets/vision", "name"), ("/v1/tokens", "id"), ("/v1/nodes", "pool"),
                      ("/v1/pools", None), ("/v1/teams", None), ("/v1/classes", None)):
        found = pages(site, path, limit)
        assert all(len(page) <= limit for page in found)
        names = [item[key] if key else item["metadata"]["name"] for page in found for item in page]
        assert len(names) == len(set(names)) >= 5 or path in ("/v1/teams",)
        assert names == sorted(names) or path == "/v1/nodes"


def test_a_page_of_no_size_is_refused(site):
    assert site.api("GET", "/v1/nodes?limit=0").status == 422
    assert site.api("GET", "/v1/tokens?limit=many").status == 422

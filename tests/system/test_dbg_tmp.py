import json
from tests.system.test_page import *
from tests.system.conftest import *
from tests.conftest import *


def test_x(page, tickwire):
    page.on("console", lambda m: print("C", m.text))
    page.on("pageerror", lambda e: print("E", e))
    page.on("websocket", lambda ws: ws.on("framereceived", lambda f: print("F", str(f)[:600])))
    for symbol, price in (("AAPL", "111"), ("MSFT", "222")):
        tickwire.publish(f"depth.{symbol}", depth(symbol, price, price + ".5"))
    print(tickwire.get("/api/v1/depth/AAPL/"))
    opened(page, tickwire, "/#AAPL/1m")
    page.wait_for_timeout(1000)
    print("T", page.locator("#ladder .levels").inner_html()[:1500])
    print("R", page.evaluate("typeof requestAnimationFrame"), page.locator("#ladder").get_attribute("class"))
    assert 0

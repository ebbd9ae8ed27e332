"""Who may do what over HTTP: one line an endpoint and method, one column for each who.

`*` at the end of an address stands for every address below it that has no line of its own. Methods without a line are refused to
everybody; in the admin, which shows a page whatever the method is, only GET and POST are looked at. `QUERIES` and `BODIES` say
what is asked, and `PLANT` makes those who ask.
"""

from __future__ import annotations

WHO = {
    "visitor": "nobody in particular, under the anonymous plan",
    "nobody": "a visitor while there is no anonymous plan",
    "user": "a user by session, with the CSRF token",
    "no-csrf": "the same without it",
    "key": "that user's API key",
    "publish": "an API key that may publish, of a user who may",
    "staff": "a member of staff by session, who may change nothing in the admin",
    "s-key": "that member's API key with the staff permission",
    "chief": "a superuser by session",
    "revoked": "an API key that was revoked",
    "off-key": "an API key of a disabled user",
    "off": "a disabled user's session",
}

NAMED = {
    "login": {302, 403},  # sent to the login page, or without the CSRF token refused
    "closed": {302, 403, 404},  # there is nothing for who has no permission in the admin
    "any": {
        200,
        302,
        403,
        404,
        405,
    },  # pages that are everybody's, a form that lacks a field, and nothing that lacks a permission
}

TABLE = """
                                             visitor nobody user  no-csrf key   publish staff  s-key chief revoked off-key off
GET    /                                     200     200    200   200     200   200     200    200   200   200     200     200
GET    /login/                               200     200    200   200     200   200     200    200   200   200     200     200
POST   /login/                               403     403    200   403     403   403     200    403   200   403     403     200
POST   /logout/                              403     403    302   403     403   403     302    403   302   403     403     302
GET    /chart/                               200     200    200   200     200   200     200    200   200   200     200     200
GET    /favicon.ico                          302     302    302   302     302   302     302    302   302   302     302     302
GET    /admin/                               302     302    302   302     302   302     200    302   200   302     302     302
GET    /admin/login/                         200     200    200   200     200   200     302    200   302   200     200     200
POST   /admin/login/                         403     403    200   403     403   403     200    403   200   403     403     200
GET    /admin/logout/                        302     302    302   302     302   302     405    302   405   302     302     302
POST   /admin/logout/                        403     403    302   403     403   403     200    403   200   403     403     302
GET    /admin/monitoring/notifier/<pk>/test/ 302     302    302   302     302   302     405    302   405   302     302     302
GET    /admin/jsi18n/                        302     302    302   302     302   302     200    302   200   302     302     302
GET    /admin/password_change/               302     302    302   302     302   302     200    302   200   302     302     302
GET    /admin/password_change/done/          302     302    302   302     302   302     200    302   200   302     302     302
GET    /admin/*                              302     302    302   302     302   302     closed 302   any   302     302     302
POST   /admin/*                              login   login  login login   login login   any    login any   login   login   login
GET    /api/docs/                            200     200    200   200     200   200     200    200   200   401     401     200
GET    /api/schema/                          200     200    200   200     200   200     200    200   200   401     401     200
GET    /api/v1/admin/alert-rules/            401     401    403   403     403   403     200    200   200   401     401     401
POST   /api/v1/admin/alert-rules/            401     401    403   403     403   403     403    403   400   401     401     401
GET    /api/v1/admin/alert-rules/<pk>/       401     401    403   403     403   403     404    404   404   401     401     401
PATCH  /api/v1/admin/alert-rules/<pk>/       401     401    403   403     403   403     403    403   404   401     401     401
DELETE /api/v1/admin/alert-rules/<pk>/       401     401    403   403     403   403     403    403   404   401     401     401
GET    /api/v1/admin/alerts/                 401     401    403   403     403   403     200    200   200   401     401     401
GET    /api/v1/admin/connections/            401     401    403   403     403   403     200    200   200   401     401     401
DELETE /api/v1/admin/connections/<session>/  401     401    403   403     403   403     403    403   404   401     401     401
GET    /api/v1/admin/feeds/                  401     401    403   403     403   403     200    200   200   401     401     401
GET    /api/v1/admin/history/                401     401    403   403     403   403     200    200   200   401     401     401
GET    /api/v1/admin/nodes/                  401     401    403   403     403   403     200    200   200   401     401     401
POST   /api/v1/admin/nodes/<node>/drain/     401     401    403   403     403   403     403    403   404   401     401     401
GET    /api/v1/admin/notifiers/              401     401    403   403     403   403     200    200   200   401     401     401
POST   /api/v1/admin/notifiers/              401     401    403   403     403   403     403    403   400   401     401     401
GET    /api/v1/admin/notifiers/<pk>/         401     401    403   403     403   403     404    404   404   401     401     401
PATCH  /api/v1/admin/notifiers/<pk>/         401     401    403   403     403   403     403    403   404   401     401     401
DELETE /api/v1/admin/notifiers/<pk>/         401     401    403   403     403   403     403    403   404   401     401     401
POST   /api/v1/admin/notifiers/<pk>/test/    401     401    403   403     403   403     403    403   404   401     401     401
GET    /api/v1/admin/stats/                  401     401    403   403     403   403     200    200   200   401     401     401
POST   /api/v1/admin/taps/                   401     401    403   403     403   403     403    403   404   401     401     401
GET    /api/v1/admin/taps/<tap>/             401     401    403   403     403   403     403    403   404   401     401     401
DELETE /api/v1/admin/taps/<tap>/             401     401    403   403     403   403     403    403   404   401     401     401
GET    /api/v1/admin/trace/                  401     401    403   403     403   403     404    404   404   401     401     401
POST   /api/v1/admin/trace/                  401     401    403   403     403   403     403    403   404   401     401     401
GET    /api/v1/admin/trace/samples/          401     401    403   403     403   403     200    200   200   401     401     401
GET    /api/v1/admin/topics/                 401     401    403   403     403   403     200    200   200   401     401     401
POST   /api/v1/auth/ticket                   401     401    200   403     200   200     200    200   200   401     401     401
POST   /api/v1/auth/ticket/                  401     401    200   403     200   200     200    200   200   401     401     401
GET    /api/v1/depth/<symbol>/               403     401    200   200     200   200     200    200   200   401     401     403
POST   /api/v1/ingest/                       401     401    403   403     403   200     403    403   403   401     401     401
GET    /api/v1/instruments/                  200     401    200   200     200   200     200    200   200   401     401     200
GET    /api/v1/instruments/<symbol>/         200     401    200   200     200   200     200    200   200   401     401     200
GET    /api/v1/keys/                         401     401    200   200     200   200     200    200   200   401     401     401
POST   /api/v1/keys/                         401     401    201   403     403   403     201    403   201   401     401     401
DELETE /api/v1/keys/<prefix>/                401     401    204   403     403   404     404    404   404   401     401     401
GET    /api/v1/klines/<symbol>/              200     401    200   200     200   200     200    200   200   401     401     200
GET    /api/v1/me/                           200     401    200   200     200   200     200    200   200   401     401     200
GET    /api/v1/me/connections/               401     401    200   200     200   200     200    200   200   401     401     401
GET    /api/v1/me/limits/                    200     401    200   200     200   200     200    200   200   401     401     200
GET    /api/v1/me/usage/                     401     401    200   200     200   200     200    200   200   401     401     401
GET    /api/v1/nodes/best/                   404     401    404   404     404   404     404    404   404   401     401     404
GET    /api/v1/quotes/                       200     401    200   200     200   200     200    200   200   401     401     200
GET    /api/v1/quotes/<symbol>/              200     401    200   200     200   200     200    200   200   401     401     200
GET    /api/v1/snapshots/                    200     401    200   200     200   200     200    200   200   401     401     200
GET    /api/v1/tickers/                      200     401    200   200     200   200     200    200   200   401     401     200
GET    /api/v1/tickers/<symbol>/             200     401    200   200     200   200     200    200   200   401     401     200
GET    /api/v1/topics/<topic>/history/       200     401    200   200     200   200     200    200   200   401     401     200
GET    /api/v1/trades/<symbol>/              200     401    200   200     200   200     200    200   200   401     401     200
GET    /monitor/                             302     302    302   302     302   302     200    302   200   302     302     302
GET    /monitor/alerts/                      302     302    302   302     302   302     200    302   200   302     302     302
GET    /monitor/connections/                 302     302    302   302     302   302     200    302   200   302     302     302
GET    /monitor/feeds/                       302     302    302   302     302   302     200    302   200   302     302     302
GET    /monitor/runbooks/<name>/             302     302    302   302     302   302     404    302   404   302     302     302
GET    /monitor/topics/                      302     302    302   302     302   302     200    302   200   302     302     302
GET    /udf/config                           200     401    200   200     200   200     200    200   200   401     401     200
GET    /udf/history                          200     401    200   200     200   200     200    200   200   401     401     200
GET    /udf/quotes                           200     401    200   200     200   200     200    200   200   401     401     200
GET    /udf/search                           200     401    200   200     200   200     200    200   200   401     401     200
GET    /udf/symbols                          200     401    200   200     200   200     200    200   200   401     401     200
GET    /udf/time                             200     401    200   200     200   200     200    200   200   401     401     200
"""

VALUES = {
    "symbol": "AAPL",
    "topic": "quote.AAPL",
    "prefix": "spare000",
    "session": "nobodys",
    "node": "nowhere",
    "pk": "999",
    "tap": "nothing",
}  # what stands in addresses
QUERIES = {
    "/api/v1/snapshots/": "topics=quote.AAPL",
    "/api/v1/admin/trace/": "topic=quote.AAPL&seq=1",
    "/udf/symbols": "symbol=AAPL",
    "/udf/history": "symbol=AAPL&resolution=1&to=1700000000&countback=1",
    "/udf/quotes": "symbols=AAPL",
}
BODIES = {
    "/api/v1/ingest/": {"ticks": []},
    "/api/v1/admin/taps/": {"session": "nobodys"},
    "/api/v1/admin/trace/": {"topic": "quote.AAPL"},
}

PLANT = """
import json
from importlib import import_module
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import Permission, User
from marketdata.models import Instrument
from realtime.keys import create_key
from realtime.models import ApiKey, Plan

Instrument.objects.create(symbol="AAPL", name="AAPL", kind="stock")
Plan.objects.update(requests_per_second=10_000, request_burst=10_000)  # nobody is refused for asking often

def saved_session(user):
    made = import_module(settings.SESSION_ENGINE).SessionStore()
    made[SESSION_KEY], made[HASH_SESSION_KEY] = str(user.pk), user.get_session_auth_hash()
    made[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    made.save()
    return made.session_key

def session(user):
    return {"session": saved_session(user), "leaving": saved_session(user)}

def key(user, **permissions):
    return {"key": create_key(user, **permissions)[1]}

ada, pub, off = (User.objects.create_user(name) for name in ("ada", "pub", "off"))
boss = User.objects.create_user("boss", is_staff=True)
pub.user_permissions.add(Permission.objects.get(codename="publish"))
revoked, spare = key(ada), create_key(ada)[0]
ApiKey.objects.filter(pk=spare.pk).update(prefix="spare000")
print(json.dumps({
    "user": session(ada), "key": key(ada), "revoked": revoked, "publish": key(pub, can_publish=True),
    "staff": session(boss), "s-key": key(boss, is_staff=True),
    "chief": session(User.objects.create_superuser("chief")), "off": session(off), "off-key": key(off),
}))
ApiKey.objects.filter(prefix=revoked["key"].split("_")[1]).update(revoked_at="2026-01-01T00:00Z")
User.objects.filter(pk=off.pk).update(is_active=False)
"""
NO_ANONYMOUS = PLANT + 'Plan.objects.filter(name="anonymous").update(enabled=False)\n'

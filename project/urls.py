"""Every address of the server."""

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.templatetags.static import static
from django.urls import include, path
from django.views.generic import RedirectView

from realtime.logins import LoginForm, UserLoginForm
from realtime.views import chart, dashboard

admin.site.site_header = "Tickwire"
admin.site.site_title = "Tickwire"
admin.site.index_title = "Administration"
admin.site.login_form = LoginForm

handler400 = "project.errors.bad_request"
handler404 = "project.errors.not_found"
handler500 = "project.errors.server_error"

icon = RedirectView.as_view(url=static("dashboard/icon.svg"), http_method_names=["get", "head"])  # for pages that name none

login = LoginView.as_view(
    template_name="login.html", authentication_form=UserLoginForm, next_page="login", http_method_names=["get", "head", "post"]
)

urlpatterns = [
    path("", dashboard, name="dashboard"),
    path("chart/", chart, name="chart"),
    path("favicon.ico", icon),
    path("login/", login, name="login"),
    path("logout/", LogoutView.as_view(next_page="login"), name="logout"),
    path("admin/", admin.site.urls),
    path("monitor/", include("monitoring.pages")),
    path("api/v1/", include("marketdata.urls")),
    path("api/v1/", include("realtime.urls")),
    path("api/v1/", include("monitoring.urls")),
    path("api/", include("project.openapi")),
    path("udf/", include("marketdata.udf")),
]

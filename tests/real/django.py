"""docs/recipes/django.md: Wagtail as `wagtail start` makes it, a Django app, gunicorn and nginx."""

import os
import sys

from ports import ports

from . import crowd
from .forms import fields
from .machine import HOST, after_revalidation, expect, found, listens
from .recipe import Recipe, adapted
from .visitor import Readers, Visitor

PASSWORD = "correct horse battery"

# What the recipe leaves to the reader: a model, addresses, templates, and a page with a form.
NEWS = {
    "models.py": """
from django.db import models

class Article(models.Model):
    title = models.CharField(max_length=100)
""",
    "admin.py": """
from django.contrib import admin
from .models import Article

admin.site.register(Article)
""",
    "urls.py": """
from django.shortcuts import render
from django.urls import path
from . import views

urlpatterns = [
    path("", views.articles),
    path("<int:pk>/", views.article),
    path("contact/", lambda request: render(request, "news/contact.html")),
]
""",
    "templates/news/article.html": "{% extends 'base.html' %}{% block content %}"
    "<h1>{{ article.title }}</h1>{% endblock %}",
    "templates/news/articles.html": "{% for article in articles %}<p>{{ article.title }}</p>"
    "{% endfor %}{% if user.is_authenticated %}<p>Hello {{ user }}</p>{% endif %}",
    "templates/news/contact.html": "<form method=post>{% csrf_token %}</form>",
}
# What a crowd is told apart by, and a page whose answer takes longer than its TTL.
CROWD = """
import time

from django.http import HttpResponseNotModified

class Crowd:
    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        response = self.get_response(request)
        if "slow" in request.GET:
            time.sleep(1.2)
            if "s-maxage" in response["Cache-Control"]:
                response["Cache-Control"] = "max-age=0, s-maxage=1"
        if request.user.is_authenticated:
            name = request.user.get_username()
            if request.headers.get("If-None-Match") == f'"{name}"':
                response = HttpResponseNotModified(headers={"Cache-Control": response["Cache-Control"]})
            response["X-Personal"], response["ETag"] = name, f'"{name}"'
        return response
"""
APP = """
from django.apps import AppConfig

class Config(AppConfig):
    name = "{name}"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self):
        from . import purges
"""


def follow(machine):
    recipe = Recipe("django")
    origin, django, port, admin = ports(4)
    manage = project(machine, recipe, port, admin)
    command = [sys.executable, "-m", "gunicorn", "--bind", f"{HOST}:{django}", "--workers", "2",
               "mysite.wsgi"]
    gunicorn = machine.process(
        "gunicorn", command, lambda: listens(django), cwd=manage.cwd, env=manage.environment
    )
    nginx = machine.nginx(origin, adapted(recipe.block("sites-available/mysite"), {
        "8081": origin, "127.0.0.1:8000": f"{HOST}:{django}", "/srv/mysite": manage.cwd,
    }))
    weir = machine.weir_serves(adapted(recipe.block("weir.toml"), {
        "8081": origin, "www.example.com": HOST,
    }), port, admin)
    readers = Readers(port)

    home = readers.share("/")
    readers.share("/news/")
    readers.share("/news/1/")
    tracked = readers.get("/news/1/?utm_source=mail")
    expect("a tracked page is the same page", tracked.hit, tracked)
    styles = found(r'href="(/static/css/mysite\.[0-9a-f]+\.css)"', home.text)
    stored = readers.share(styles)
    lifetime = int(found(r"ttl=(\d+)", stored.cache))
    expect("a versioned name is kept", lifetime > 360 * 86400, stored)
    for path in ("/news/1", "/admin"):
        answer = readers.get(path)
        expect(f"{path} redirects", answer.status in (301, 302), answer)
    print("  ok  pages and files are stored for all")

    secrets = set()
    for reader in (readers.anonymous(), readers.followed()):
        for _ in range(2):
            form = reader.get("/news/contact/")
            expect("a page with a form is not stored", not form.hit and not form.stored, form)
            expect("it brings its cookie", "csrftoken" in reader.cookies, form)
        secrets.add(reader.cookies["csrftoken"])
        again = reader.get("/news/")
        expect("the cookie of forms does not matter elsewhere", again.hit, again)
    expect("each visitor has a token of their own", len(secrets) == 2, secrets)
    print("  ok  forms belong to one visitor")

    editor = Editor(port)
    editor.log_in()
    for path, mark in (("/", "wagtail-userbar"), ("/news/", "Hello admin")):
        for _ in range(2):
            own = editor.get(path)
            expect(f"{path} is the editor's", mark in own.text, own)
            expect(f"{path} is not stored", not own.hit and not own.stored, own)
        public = readers.followed().get(path)
        expect(f"{path} is public for others", public.hit and mark not in public.text, public)
    weir.commands(recipe.block("all pages"))
    for path, mark in (("/", "wagtail-userbar"), ("/news/", "Hello admin")):
        readers.hundred(path, editor, mark)
    visited(machine, weir, port, manage, styles)
    for path in ("/admin/", "/django-admin/"):
        for _ in range(2):
            answer = editor.get(path)
            expect(f"{path} is not stored", not answer.hit and not answer.stored, answer)
    print("  ok  who is logged in has pages of their own")

    editor.send("/django-admin/news/article/1/change/", "article_form", title="Edited article")
    changed(readers, ["/news/", "/news/1/"], "Edited article", True)
    before = weir.purges()
    editor.send(f"/admin/pages/{manage.home}/edit/", "data-edit-form", title="A draft")
    expect("a draft purges nothing", weir.purges() == before, weir.purges())
    publish = {"action-publish": "action-publish"}
    editor.send(f"/admin/pages/{manage.home}/edit/", "data-edit-form", title="Edited home", **publish)
    changed(readers, ["/", "/?page=2"], "Edited home", True)
    add = f"/admin/pages/add/home/homepage/{manage.home}/"
    editor.send(add, "data-edit-form", title="Child", slug="child", **publish)
    readers.share("/child/")
    child = manage("shell", "-c", "from home.models import *; "
                   "print('id', HomePage.objects.get(slug='child').pk)")
    child = found(r"id (\d+)", child)
    for path in ("/", "/child/"):
        readers.get(path)
    editor.send(f"/admin/pages/{child}/unpublish/", "/unpublish/")
    answer = readers.get("/child/")
    expect("an unpublished page is gone", answer.status == 404, answer)
    editor.send(f"/admin/pages/{child}/edit/", "data-edit-form", **publish)
    readers.share("/child/")
    editor.send(f"/admin/pages/{child}/edit/", "data-edit-form", slug="moved", **publish)
    answer = readers.get("/child/")
    leads = answer.headers["location"] == "/moved/"
    expect("the old address leads to the new one", leads, answer)
    readers.share("/moved/")
    editor.send(f"/admin/pages/{child}/delete/", "/delete/")
    answer = readers.get("/moved/")
    expect("a deleted page is gone", answer.status == 404, answer)
    print("  ok  edits are shown at once")

    readers.get("/")
    weir.all_expires()
    old = readers.followed().get("/")
    expect("an expired page is sent at once", old.revalidating, old)
    gunicorn.stop()
    after_revalidation(manage.cwd / "mysite/weir.py", 60)
    gunicorn.start()
    weir.commands(recipe.block("all pages"))
    shown = ["/", "/news/", "/news/1/"]
    for process in (gunicorn, nginx):
        for path in shown:
            readers.get(path)
        weir.all_expires()
        process.stop()
        for path in shown:
            answer = readers.followed().get(path)
            expect(f"{path}, stale", answer.in_place, answer)
        answer = readers.get("/news/2/")
        expect("what is not stored fails", answer.status == 502, answer)
        process.start()
    weir.commands(recipe.block("all pages"))
    readers.share("/")
    print("  ok  Django and nginx may be down")


def changed(readers, paths, text, shows):
    for path in paths:
        answer = readers.followed().get(path)
        expect(f"{path} shows {text}: {shows}", (text in answer.text) == shows, answer)
        again = readers.get(path)
        expect(f"{path} is a hit again", again.hit, again)


def visited(machine, weir, port, manage, styles):
    names, users = crowd.names(), []
    manage("shell", "-c", "from django.contrib.auth.models import User\n"
           f"for name in {names}: User.objects.create_user(name, password={PASSWORD!r}, is_staff=True)")
    for name in names:
        user = Editor(port)
        user.send("/django-admin/login/", "login-form", username=name, password=PASSWORD)
        users.append(crowd.Person(user.cookies, name))
    weir.commands("weir purge --all")
    site = crowd.Site(port, ["/", "/news/", "/news/1/"], [styles], "/news/?slow=1")
    crowd.visited(weir, site, users, machine.requests)


class Editor(Visitor):
    """Who edits in the admin pages of Wagtail and of Django."""

    def log_in(self):
        self.send("/admin/login/", "/admin/login/", username="admin", password=PASSWORD)
        expect("login sets a cookie", "sessionid" in self.cookies, self.cookies)

    def send(self, path, form, **changes):
        """Fills in a form and sends it, as a browser would."""
        page = self.get(path)
        expect(f"{path} is shown", page.status == 200, page)
        answer = self.post(path, {**fields(page.text, form), **changes})
        expect(f"{path} is saved", answer.status == 302, answer)


class Project:
    """manage.py of a project."""

    def __init__(self, machine, folder):
        self.machine, self.cwd = machine, folder
        self.environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "mysite.settings.production"}

    def __call__(self, *arguments, **more):
        environment = {**self.environment, **more}
        return self.machine.run(
            sys.executable, "manage.py", *arguments, cwd=self.cwd, env=environment
        )


def project(machine, recipe, port, admin):
    """A new project with the recipe's files in it, and its database."""
    machine.run("wagtail", "start", "mysite")
    folder = "mysite"

    def add(name, text):
        machine.write(f"{folder}/{name}", text)

    add("mysite/weir.py", recipe.block("mysite/weir.py"))
    add("mysite/crowd.py", CROWD)
    add("mysite/settings/local.py", adapted(recipe.block("mysite/settings/local.py"), {
        "www.example.com": HOST, "127.0.0.1:9090": f"{HOST}:{admin}",
    }) + "SECRET_KEY = 'of this test'\nINSTALLED_APPS = ['news', *INSTALLED_APPS]\n"
        "MIDDLEWARE = ['mysite.crowd.Crowd', *MIDDLEWARE]\n")
    for app in ("home", "news"):
        add(f"{app}/apps.py", APP.format(name=app))
        add(f"{app}/purges.py", recipe.block(f"{app}/purges.py"))
    add("news/__init__.py", "")
    add("news/views.py", recipe.block("news/views.py"))
    for name, text in NEWS.items():
        add(f"news/{name}", text)
    urls = machine.folder / folder / "mysite/urls.py"
    urls.write_text(urls.read_text().replace(
        "urlpatterns = [\n", "urlpatterns = [\n    path('news/', include('news.urls')),\n", 1
    ))
    manage = Project(machine, machine.folder / folder)
    manage("makemigrations", "news")
    manage("migrate")
    manage("collectstatic", "--no-input")
    manage("createsuperuser", "--no-input", "--username=admin", "--email=admin@example.com",
           DJANGO_SUPERUSER_PASSWORD=PASSWORD)
    said = manage("shell", "-c", f"""
from home.models import HomePage
from news.models import Article
from wagtail.models import Site
from django.db.models.signals import post_save
post_save.receivers = []
Article.objects.create(title="First article")
Site.objects.update(hostname="{HOST}", port={port})
print("id", HomePage.objects.get().pk)
""")
    manage.home = found(r"id (\d+)", said)
    return manage

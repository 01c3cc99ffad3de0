"""What a site made with Django does to a database, and reads of it; prints what it gets. The one argument is a URL."""

import sys
from urllib.parse import urlparse

import django
from django.conf import settings
from django.core.management import call_command

url = urlparse(sys.argv[1])
settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": url.path[1:],
            "USER": url.username,
            "PASSWORD": url.password,
            "HOST": url.hostname,
            "PORT": url.port,
        }
    },
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "shop"],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    SECRET_KEY="none",
    USE_TZ=True,
)
django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.db import IntegrityError, connection, transaction  # noqa: E402
from django.db.models import Count, F, Sum  # noqa: E402
from shop.models import Order, Product  # noqa: E402

call_command("migrate", no_color=True)
call_command("showmigrations", no_color=True)
# Whether what it finds is what the models say.
call_command("makemigrations", "shop", check=True, dry_run=True)
call_command("inspectdb", include_views=True, include_partitions=True)

user = User.objects.create_user("ann", "ann@example.com", None)
order = Order.objects.create(by=user, number=1)
order.products.set(Product.objects.filter(price__lt=3))
print(list(Product.objects.filter(tags__contains=["7"], about__n=7).values_list("name", "price")))
print(Product.objects.aggregate(Sum("price"), Count("id")))
print(Product.objects.filter(price__gt=20).update(price=F("price") * 2))
print(sum(1 for _ in Product.objects.order_by("id").iterator(chunk_size=7)))
try:
    with transaction.atomic():
        Order.objects.create(by=user, number=1)
except IntegrityError as error:
    print(error)
try:
    with transaction.atomic():
        with transaction.atomic():
            Product.objects.select_for_update().filter(name="p1").update(price=-1)
except IntegrityError as error:
    print(str(error).split("DETAIL")[0])
print(order.products.count(), Product.objects.filter(price=-1).exists())
with connection.cursor() as cursor:
    cursor.execute("SELECT name FROM cheap ORDER BY id")
    print(cursor.fetchall())
user.delete()

call_command("migrate", "shop", "0001", no_color=True)
with connection.cursor() as cursor:
    print(connection.introspection.table_names(cursor))

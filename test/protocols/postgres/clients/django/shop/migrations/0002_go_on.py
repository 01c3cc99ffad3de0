from django.conf import settings
from django.db import migrations, models


def fill(apps, editor):
    apps.get_model("shop", "Product").objects.bulk_create(
        apps.get_model("shop", "Product")(name="p%d" % n, cost=n, tags=["a", str(n)], about={"n": n}) for n in range(30)
    )


class Migration(migrations.Migration):
    dependencies = [("shop", "0001_begin"), migrations.swappable_dependency(settings.AUTH_USER_MODEL)]
    operations = [
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.RenameField("product", "cost", "price"),
        migrations.AlterField("product", "price", models.DecimalField(decimal_places=2, max_digits=10, null=True)),
        migrations.AlterField("product", "name", models.CharField(max_length=100, unique=True)),
        migrations.AddField("product", "key", models.UUIDField(db_index=True, null=True)),
        migrations.AddField("order", "number", models.PositiveIntegerField(default=0)),
        migrations.AlterUniqueTogether("order", {("by", "number")}),
        migrations.AddConstraint(
            "product", models.CheckConstraint(check=models.Q(price__gte=0), name="price_is_not_negative")
        ),
        migrations.AddIndex(
            "product", models.Index(condition=models.Q(price__isnull=False), fields=["made"], name="priced")
        ),
        migrations.RunSQL(
            "CREATE VIEW cheap AS SELECT id, name FROM shop_product WHERE price < 5; COMMENT ON VIEW cheap IS 'a view'",
            "DROP VIEW cheap",
        ),
    ]

import django.contrib.postgres.fields
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = [migrations.swappable_dependency(settings.AUTH_USER_MODEL)]
    operations = [
        migrations.CreateModel(
            "Product",
            [
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=50, unique=True)),
                ("cost", models.DecimalField(decimal_places=2, max_digits=8, null=True)),
                ("tags", django.contrib.postgres.fields.ArrayField(models.TextField(), default=list, size=None)),
                ("about", models.JSONField(default=dict)),
                ("made", models.DateTimeField(auto_now_add=True)),
            ],
        ),
        migrations.CreateModel(
            "Order",
            [
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("note", models.TextField(blank=True)),
                ("by", models.ForeignKey(on_delete=models.deletion.CASCADE, related_name="orders", to=settings.AUTH_USER_MODEL)),
                ("products", models.ManyToManyField(to="shop.Product")),
            ],
        ),
    ]

from django.contrib.auth.models import User
from django.contrib.postgres.fields import ArrayField
from django.db import models


class Product(models.Model):
    name = models.CharField(max_length=100, unique=True)
    price = models.DecimalField(max_digits=10, decimal_places=2, null=True)
    tags = ArrayField(models.TextField(), default=list)
    about = models.JSONField(default=dict)
    made = models.DateTimeField(auto_now_add=True)
    key = models.UUIDField(null=True, db_index=True)

    class Meta:
        constraints = [models.CheckConstraint(check=models.Q(price__gte=0), name="price_is_not_negative")]
        indexes = [models.Index(fields=["made"], name="priced", condition=models.Q(price__isnull=False))]


class Order(models.Model):
    by = models.ForeignKey(User, on_delete=models.CASCADE, related_name="orders")
    products = models.ManyToManyField(Product)
    note = models.TextField(blank=True)
    number = models.PositiveIntegerField(default=0)

    class Meta:
        unique_together = [("by", "number")]

import django.core.validators
from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

FIRST = {"anonymous": (10, 40), "dashboard": (40, 160), "pro": (100, 400)}  # `free` and what operators made have the default


def allow(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    plans = apps.get_model("realtime", "Plan")
    for name, (rate, burst) in FIRST.items():
        plans.objects.filter(name=name).update(requests_per_second=rate, request_burst=burst)


class Migration(migrations.Migration):

    dependencies = [
        ("realtime", "0002_plan_priority"),
    ]

    operations = [
        migrations.AddField(
            model_name="plan",
            name="requests_per_second",
            field=models.FloatField(
                default=20,
                help_text="REST, in each serving process; visitors: per address.",
                validators=[django.core.validators.MinValueValidator(0.1)],
            ),
        ),
        migrations.AddField(
            model_name="plan",
            name="request_burst",
            field=models.PositiveIntegerField(default=80, validators=[django.core.validators.MinValueValidator(1)]),
        ),
        migrations.AlterModelOptions(
            name="apikey",
            options={
                "ordering": ["-created_at"],
                "permissions": [("publish", "Can make keys that publish ticks")],
                "verbose_name": "API key",
            },
        ),
        migrations.RunPython(allow, migrations.RunPython.noop),
    ]

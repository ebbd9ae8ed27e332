from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

FIRST = {"anonymous": 0, "pro": 20}  # `free`, `dashboard` and what operators made have the default


def rank(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    plans = apps.get_model("realtime", "Plan")
    for name, priority in FIRST.items():
        plans.objects.filter(name=name).update(priority=priority)


class Migration(migrations.Migration):

    dependencies = [
        ("realtime", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="plan",
            name="priority",
            field=models.PositiveSmallIntegerField(
                default=10, help_text="Under overload the lowest is refused first and let go first. Staff is always served."
            ),
        ),
        migrations.RunPython(rank, migrations.RunPython.noop),
    ]

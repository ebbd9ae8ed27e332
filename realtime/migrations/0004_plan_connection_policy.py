from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("realtime", "0003_requests"),
    ]

    operations = [
        migrations.AddField(
            model_name="plan",
            name="connection_policy",
            field=models.CharField(
                choices=[("reject", "the new one is refused"), ("take_over", "the oldest one ends")],
                default="reject",
                help_text="Where there would be more connections than allowed.",
                max_length=16,
            ),
        ),
    ]

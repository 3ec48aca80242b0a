"""What the application keeps: tables, transactions, migrations, backups."""

"""What the database itself holds of plans and absences, whatever code, shell or console asks for it."""

from django.db import migrations

from inventory.choices import PLAN_TRANSITIONS


def _transition_list() -> str:
    pairs = sorted((source, target) for source, targets in PLAN_TRANSITIONS.items() for target in targets)
    return ", ".join(f"('{source}', '{target}')" for source, target in pairs)


PLAN_GUARD = f"""
CREATE FUNCTION inventory_guard_plan() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'plan % is never removed', OLD.id USING ERRCODE = 'check_violation';
    END IF;
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'preparing' OR NEW.digest <> '' THEN
            RAISE EXCEPTION 'a plan begins being prepared' USING ERRCODE = 'check_violation';
        END IF;
        RETURN NEW;
    END IF;
    IF NEW.state <> OLD.state AND (OLD.state, NEW.state) NOT IN ({_transition_list()}) THEN
        RAISE EXCEPTION 'plan %: % to % is no transition', OLD.id, OLD.state, NEW.state
            USING ERRCODE = 'check_violation';
    END IF;
    IF (NEW.kind, NEW.parameters) IS DISTINCT FROM (OLD.kind, OLD.parameters)
            OR (OLD.state <> 'preparing'
                AND (NEW.digest, NEW.candidates, NEW.included) IS DISTINCT FROM
                    (OLD.digest, OLD.candidates, OLD.included)) THEN
        RAISE EXCEPTION 'plan %: what was planned never changes', OLD.id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_plan BEFORE INSERT OR UPDATE OR DELETE ON inventory_plan
    FOR EACH ROW EXECUTE FUNCTION inventory_guard_plan();
"""

TARGET_GUARD = """
CREATE FUNCTION inventory_guard_new_targets() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE complete bigint;
BEGIN
    SELECT p.id INTO complete FROM inventory_plan p
        WHERE p.state <> 'preparing' AND p.id IN (SELECT plan_id FROM added) LIMIT 1;
    IF complete IS NOT NULL THEN
        RAISE EXCEPTION 'plan % is complete: it takes no more targets', complete USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER guard_new_targets AFTER INSERT ON inventory_plantarget
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION inventory_guard_new_targets();

CREATE FUNCTION inventory_guard_target() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.plan_id, NEW.identity_id, NEW.position, NEW.included, NEW.reason_code, NEW.steps) IS DISTINCT FROM
            (OLD.plan_id, OLD.identity_id, OLD.position, OLD.included, OLD.reason_code, OLD.steps) THEN
        RAISE EXCEPTION 'target % of plan %: what was planned never changes', OLD.id, OLD.plan_id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_target BEFORE UPDATE ON inventory_plantarget
    FOR EACH ROW EXECUTE FUNCTION inventory_guard_target();
"""

ABSENCE_GUARD = """
CREATE FUNCTION inventory_guard_absence() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE away bigint; chargers bigint;
BEGIN
    IF NEW.site = '' THEN
        RETURN NEW;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('inventory.site:' || NEW.site, 0));
    SELECT count(*) INTO away FROM inventory_plannedabsence a
        WHERE a.site = NEW.site AND a.ended_at IS NULL AND a.until > NEW.started_at AND a.id IS DISTINCT FROM NEW.id;
    SELECT count(*) INTO chargers FROM (
        SELECT 1 FROM inventory_managedidentity i
        WHERE i.site = NEW.site AND i.kind = 'charger' AND i.enabled LIMIT away + 2) AS enough;
    IF chargers > 1 AND away + 1 >= chargers THEN
        RAISE EXCEPTION 'site "%": never all of its chargers are away at once', NEW.site
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_absence BEFORE INSERT ON inventory_plannedabsence
    FOR EACH ROW EXECUTE FUNCTION inventory_guard_absence();
"""

APPEND_ONLY_TABLES = (
    "inventory_historicalfamilycapability",
    "inventory_historicalplan",
    "inventory_historicalsitepolicy",
)


class Migration(migrations.Migration):
    dependencies = [("inventory", "0009_plans_capabilities_absences")]
    operations = [
        migrations.RunSQL(
            PLAN_GUARD, "DROP TRIGGER guard_plan ON inventory_plan; DROP FUNCTION inventory_guard_plan();"
        ),
        migrations.RunSQL(
            TARGET_GUARD,
            "DROP TRIGGER guard_new_targets ON inventory_plantarget; DROP FUNCTION inventory_guard_new_targets(); "
            "DROP TRIGGER guard_target ON inventory_plantarget; DROP FUNCTION inventory_guard_target();",
        ),
        migrations.RunSQL(
            ABSENCE_GUARD,
            "DROP TRIGGER guard_absence ON inventory_plannedabsence; DROP FUNCTION inventory_guard_absence();",
        ),
        *(
            migrations.RunSQL(
                f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table} "
                "FOR EACH ROW EXECUTE FUNCTION inventory_append_only(); "
                f"CREATE TRIGGER no_truncation BEFORE TRUNCATE ON {table} "
                "FOR EACH STATEMENT EXECUTE FUNCTION inventory_no_truncation();",
                f"DROP TRIGGER append_only ON {table}; DROP TRIGGER no_truncation ON {table};",
            )
            for table in APPEND_ONLY_TABLES
        ),
    ]

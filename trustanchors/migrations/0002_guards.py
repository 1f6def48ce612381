"""What the database itself refuses, and the counters that it keeps, whatever code, shell or console asks."""

from collections.abc import Mapping

from django.db import migrations

from trustanchors.choices import (
    BUNDLE_TRANSITIONS,
    CONFIRMED_STATES,
    FAILED_STATES,
    INSTALLATION_TRANSITIONS,
    ROLLOUT_TRANSITIONS,
)


def _pairs(table: Mapping[str, frozenset[str]]) -> str:
    pairs = sorted((str(source), str(target)) for source, targets in table.items() for target in targets)
    return ", ".join(f"('{source}', '{target}')" for source, target in pairs)


def _states(states: tuple[str, ...]) -> str:
    return ", ".join(f"'{state}'" for state in map(str, states))


ANCHOR_GUARD = """
CREATE FUNCTION trustanchors_guard_anchor() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'trust anchor % is never removed: leave it out of the next bundle', OLD.id
            USING ERRCODE = 'check_violation';
    END IF;
    IF TG_OP = 'UPDATE' AND (to_jsonb(NEW) - 'name') IS DISTINCT FROM (to_jsonb(OLD) - 'name') THEN
        RAISE EXCEPTION 'trust anchor %: a certificate never changes', OLD.id USING ERRCODE = 'check_violation';
    END IF;
    IF TG_OP = 'INSERT' AND EXISTS (
            SELECT 1 FROM trustanchors_trustanchor a
            WHERE a.public_key_sha256 = NEW.public_key_sha256 AND a.trust_domain <> NEW.trust_domain) THEN
        RAISE EXCEPTION 'its key is that of an anchor of another trust domain' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_anchor BEFORE INSERT OR UPDATE OR DELETE ON trustanchors_trustanchor
    FOR EACH ROW EXECUTE FUNCTION trustanchors_guard_anchor();
"""

BUNDLE_GUARD = f"""
CREATE FUNCTION trustanchors_guard_bundle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'bundle % is never removed; withdraw it', OLD.id USING ERRCODE = 'check_violation';
    END IF;
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'draft' THEN
            RAISE EXCEPTION 'a bundle begins as a draft, not as %', NEW.state USING ERRCODE = 'check_violation';
        END IF;
        RETURN NEW;
    END IF;
    IF NEW.state <> OLD.state AND (OLD.state, NEW.state) NOT IN ({_pairs(BUNDLE_TRANSITIONS)}) THEN
        RAISE EXCEPTION 'bundle %: % to % is no transition', OLD.id, OLD.state, NEW.state
            USING ERRCODE = 'check_violation';
    END IF;
    IF (NEW.purpose, NEW.version) IS DISTINCT FROM (OLD.purpose, OLD.version)
            OR (OLD.state <> 'draft' AND NEW.digest <> OLD.digest) THEN
        RAISE EXCEPTION 'bundle %: purpose and version never change, nor what was released', OLD.id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_bundle BEFORE INSERT OR UPDATE OR DELETE ON trustanchors_trustanchorbundle
    FOR EACH ROW EXECUTE FUNCTION trustanchors_guard_bundle();

CREATE FUNCTION trustanchors_guard_place() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE place record;
BEGIN
    IF TG_OP = 'DELETE' THEN place := OLD; ELSE place := NEW; END IF;
    IF TG_OP = 'UPDATE' AND NEW.bundle_id <> OLD.bundle_id THEN
        RAISE EXCEPTION 'an anchor does not move from bundle % to another', OLD.bundle_id
            USING ERRCODE = 'check_violation';
    END IF;
    PERFORM 1 FROM trustanchors_trustanchorbundle b WHERE b.id = place.bundle_id AND b.state = 'draft' FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'bundle % is no draft any more: its anchors never change; make the next version',
            place.bundle_id USING ERRCODE = 'check_violation';
    END IF;
    IF TG_OP <> 'DELETE' AND NOT EXISTS (
            SELECT 1 FROM trustanchors_trustanchorbundle b JOIN trustanchors_trustanchor a ON a.purpose = b.purpose
            WHERE b.id = NEW.bundle_id AND a.id = NEW.anchor_id) THEN
        RAISE EXCEPTION 'bundle %: an anchor of another purpose does not belong into it', NEW.bundle_id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN place;
END $$;
CREATE TRIGGER guard_place BEFORE INSERT OR UPDATE OR DELETE ON trustanchors_bundleanchor
    FOR EACH ROW EXECUTE FUNCTION trustanchors_guard_place();
"""

ROLLOUT_GUARD = f"""
CREATE FUNCTION trustanchors_guard_rollout() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'rollout % is never removed; stop or withdraw it', OLD.id USING ERRCODE = 'check_violation';
    END IF;
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'planned' OR NEW.targets + NEW.confirmed + NEW.failed + NEW.withdrawn <> 0 THEN
            RAISE EXCEPTION 'a rollout begins planned, with nothing counted' USING ERRCODE = 'check_violation';
        END IF;
        IF NOT EXISTS (SELECT 1 FROM trustanchors_trustanchorbundle b
                       WHERE b.id = NEW.bundle_id AND b.purpose = NEW.purpose AND b.state = 'released') THEN
            RAISE EXCEPTION 'a rollout is of a released bundle of its purpose' USING ERRCODE = 'check_violation';
        END IF;
        RETURN NEW;
    END IF;
    IF NEW.state <> OLD.state AND (OLD.state, NEW.state) NOT IN ({_pairs(ROLLOUT_TRANSITIONS)}) THEN
        RAISE EXCEPTION 'rollout %: % to % is no transition', OLD.id, OLD.state, NEW.state
            USING ERRCODE = 'check_violation';
    END IF;
    IF (NEW.bundle_id, NEW.purpose, NEW.cohort_id) IS DISTINCT FROM (OLD.bundle_id, OLD.purpose, OLD.cohort_id) THEN
        RAISE EXCEPTION 'rollout %: bundle, purpose and cohort never change', OLD.id
            USING ERRCODE = 'check_violation';
    END IF;
    IF pg_trigger_depth() = 1 AND (NEW.targets, NEW.confirmed, NEW.failed, NEW.withdrawn)
            IS DISTINCT FROM (OLD.targets, OLD.confirmed, OLD.failed, OLD.withdrawn) THEN
        RAISE EXCEPTION 'rollout %: its counts follow from its installations', OLD.id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_rollout BEFORE INSERT OR UPDATE OR DELETE ON trustanchors_bundlerollout
    FOR EACH ROW EXECUTE FUNCTION trustanchors_guard_rollout();

CREATE FUNCTION trustanchors_guard_family() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'the family of a rollout is never removed' USING ERRCODE = 'check_violation';
    END IF;
    IF TG_OP = 'INSERT' THEN
        IF NEW.targets + NEW.confirmed + NEW.failed + NEW.withdrawn <> 0 THEN
            RAISE EXCEPTION 'the family of a rollout begins with nothing counted' USING ERRCODE = 'check_violation';
        END IF;
        RETURN NEW;
    END IF;
    IF pg_trigger_depth() = 1 AND (NEW.targets, NEW.confirmed, NEW.failed, NEW.withdrawn)
            IS DISTINCT FROM (OLD.targets, OLD.confirmed, OLD.failed, OLD.withdrawn) THEN
        RAISE EXCEPTION 'the counts of a family follow from its installations' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_family BEFORE INSERT OR UPDATE OR DELETE ON trustanchors_rolloutfamily
    FOR EACH ROW EXECUTE FUNCTION trustanchors_guard_family();
"""

INSTALLATION_GUARD = f"""
CREATE FUNCTION trustanchors_guard_installation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'installation % is never removed', OLD.id USING ERRCODE = 'check_violation';
    END IF;
    IF TG_OP = 'INSERT' THEN
        IF NEW.state NOT IN ('intended', 'failed') THEN
            RAISE EXCEPTION 'an installation cannot begin as %', NEW.state USING ERRCODE = 'check_violation';
        END IF;
        RETURN NEW;
    END IF;
    IF NEW.state <> OLD.state AND (OLD.state, NEW.state) NOT IN ({_pairs(INSTALLATION_TRANSITIONS)}) THEN
        RAISE EXCEPTION 'installation %: % to % is no transition', OLD.id, OLD.state, NEW.state
            USING ERRCODE = 'check_violation';
    END IF;
    IF (NEW.rollout_id, NEW.identity_id, NEW.purpose) IS DISTINCT FROM (OLD.rollout_id, OLD.identity_id, OLD.purpose)
            OR (NEW.current AND NOT OLD.current) THEN
        RAISE EXCEPTION 'installation %: rollout, identity and purpose never change, and a replaced one stays so',
            OLD.id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_installation BEFORE INSERT OR UPDATE OR DELETE ON trustanchors_bundleinstallation
    FOR EACH ROW EXECUTE FUNCTION trustanchors_guard_installation();

CREATE FUNCTION trustanchors_count(changed jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE trustanchors_bundlerollout r SET targets = r.targets + d.targets, confirmed = r.confirmed + d.confirmed,
            failed = r.failed + d.failed, withdrawn = r.withdrawn + d.withdrawn
        FROM (SELECT c.rollout_id, sum(c.targets) AS targets, sum(c.confirmed) AS confirmed, sum(c.failed) AS failed,
                     sum(c.withdrawn) AS withdrawn
              FROM jsonb_to_recordset(changed) AS c(group_id bigint, rollout_id bigint, targets int, confirmed int,
                                                    failed int, withdrawn int)
              GROUP BY c.rollout_id) d
        WHERE r.id = d.rollout_id AND (d.targets, d.confirmed, d.failed, d.withdrawn) <> (0, 0, 0, 0);
    UPDATE trustanchors_rolloutfamily f SET targets = f.targets + d.targets, confirmed = f.confirmed + d.confirmed,
            failed = f.failed + d.failed, withdrawn = f.withdrawn + d.withdrawn
        FROM (SELECT c.group_id, sum(c.targets) AS targets, sum(c.confirmed) AS confirmed, sum(c.failed) AS failed,
                     sum(c.withdrawn) AS withdrawn
              FROM jsonb_to_recordset(changed) AS c(group_id bigint, rollout_id bigint, targets int, confirmed int,
                                                    failed int, withdrawn int)
              GROUP BY c.group_id) d
        WHERE f.id = d.group_id AND (d.targets, d.confirmed, d.failed, d.withdrawn) <> (0, 0, 0, 0);
END $$;

CREATE FUNCTION trustanchors_count_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM trustanchors_count(coalesce(jsonb_agg(d), '[]'::jsonb)) FROM (
        SELECT group_id, rollout_id, count(*) AS targets,
               count(*) FILTER (WHERE state IN ({_states(CONFIRMED_STATES)})) AS confirmed,
               count(*) FILTER (WHERE state IN ({_states(FAILED_STATES)})) AS failed,
               count(*) FILTER (WHERE state = 'withdrawn') AS withdrawn
        FROM added GROUP BY group_id, rollout_id) d;
    RETURN NULL;
END $$;
CREATE TRIGGER count_added AFTER INSERT ON trustanchors_bundleinstallation REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION trustanchors_count_added();

CREATE FUNCTION trustanchors_count_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM trustanchors_count(coalesce(jsonb_agg(d), '[]'::jsonb)) FROM (
        SELECT group_id, rollout_id, sum(sign) AS targets,
               coalesce(sum(sign) FILTER (WHERE state IN ({_states(CONFIRMED_STATES)})), 0) AS confirmed,
               coalesce(sum(sign) FILTER (WHERE state IN ({_states(FAILED_STATES)})), 0) AS failed,
               coalesce(sum(sign) FILTER (WHERE state = 'withdrawn'), 0) AS withdrawn
        FROM (SELECT group_id, rollout_id, state, 1 AS sign FROM now_so
              UNION ALL SELECT group_id, rollout_id, state, -1 AS sign FROM before_so) both_sides
        GROUP BY group_id, rollout_id) d;
    RETURN NULL;
END $$;
CREATE TRIGGER count_changed AFTER UPDATE ON trustanchors_bundleinstallation
    REFERENCING OLD TABLE AS before_so NEW TABLE AS now_so
    FOR EACH STATEMENT EXECUTE FUNCTION trustanchors_count_changed();
"""

APPEND_ONLY_TABLES = (
    "trustanchors_historicaltrustanchor",
    "trustanchors_historicaltrustanchorbundle",
    "trustanchors_historicalbundlerollout",
    "trustanchors_historicalbundleinstallation",
)


class Migration(migrations.Migration):
    dependencies = [("trustanchors", "0001_initial"), ("inventory", "0002_guards")]
    operations = [
        migrations.RunSQL(
            ANCHOR_GUARD,
            "DROP TRIGGER guard_anchor ON trustanchors_trustanchor; DROP FUNCTION trustanchors_guard_anchor();",
        ),
        migrations.RunSQL(
            BUNDLE_GUARD,
            "DROP TRIGGER guard_place ON trustanchors_bundleanchor; DROP FUNCTION trustanchors_guard_place(); "
            "DROP TRIGGER guard_bundle ON trustanchors_trustanchorbundle; DROP FUNCTION trustanchors_guard_bundle();",
        ),
        migrations.RunSQL(
            ROLLOUT_GUARD,
            "DROP TRIGGER guard_family ON trustanchors_rolloutfamily; DROP FUNCTION trustanchors_guard_family(); "
            "DROP TRIGGER guard_rollout ON trustanchors_bundlerollout; DROP FUNCTION trustanchors_guard_rollout();",
        ),
        migrations.RunSQL(
            INSTALLATION_GUARD,
            "DROP TRIGGER count_changed ON trustanchors_bundleinstallation; "
            "DROP FUNCTION trustanchors_count_changed(); "
            "DROP TRIGGER count_added ON trustanchors_bundleinstallation; "
            "DROP FUNCTION trustanchors_count_added(); DROP FUNCTION trustanchors_count(jsonb); "
            "DROP TRIGGER guard_installation ON trustanchors_bundleinstallation; "
            "DROP FUNCTION trustanchors_guard_installation();",
        ),
        *(
            migrations.RunSQL(
                f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table} "
                "FOR EACH ROW EXECUTE FUNCTION inventory_append_only();",
                f"DROP TRIGGER append_only ON {table};",
            )
            for table in APPEND_ONLY_TABLES
        ),
    ]

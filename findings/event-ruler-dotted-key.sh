#!/usr/bin/env bash
# AWS's Event Ruler takes a dot in a field's name for a step into an object, and the other way round.
#
# Surprising: the pattern {"order": {"id": [1]}} matches the event {"order.id": 1}, and the pattern
#   {"order.id": [1]} matches {"order": {"id": 1}}.
# Matters: tags, headers and metadata of customers have dots in their names. A rule that is to choose
#   events by structure also takes those that only look alike once they are flattened.
# Expected because: EventBridge's guide, whose matching this library is, says that field names must
#   appear in the event with the same nesting structure as in the pattern.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/pom.xml" <<'XML'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>example</groupId><artifactId>finding</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies><dependency>
    <groupId>software.amazon.event.ruler</groupId><artifactId>event-ruler</artifactId><version>1.8.1</version>
  </dependency></dependencies>
</project>
XML
mvn -q -B -f "$folder/pom.xml" org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
  -DoutputDirectory="$folder/lib" >"$folder/mvn.log" 2>&1 || { cat "$folder/mvn.log"; exit 1; }
cat >"$folder/Finding.java" <<'JAVA'
import java.util.List;
import software.amazon.event.ruler.Machine;

public class Finding {
    static boolean matches(String pattern, String event) throws Exception {
        Machine machine = new Machine();
        machine.addRule("rule", pattern);
        return !machine.rulesForJSONEvent(event).isEmpty();
    }

    public static void main(String[] arguments) throws Exception {
        String nested = "{\"order\": {\"id\": [1]}}";
        String dotted = "{\"order.id\": [1]}";
        String nestedEvent = "{\"order\": {\"id\": 1}}";
        String dottedEvent = "{\"order.id\": 1}";
        List<Boolean> seen = List.of(
            matches(nested, nestedEvent), matches(dotted, dottedEvent),
            matches(nested, dottedEvent), matches(dotted, nestedEvent));
        System.out.println("Software: Event Ruler 1.8.1 (Maven)");
        System.out.println("Expected: nested on nested, dotted on dotted, nested on dotted, dotted on nested:"
            + " [true, true, false, false]");
        System.out.println("Seen: " + seen);
        System.exit(seen.equals(List.of(true, true, true, true)) ? 0 : 1);
    }
}
JAVA
java -cp "$folder/lib/*" "$folder/Finding.java" 2>"$folder/java.log" || { cat "$folder/java.log"; exit 1; }

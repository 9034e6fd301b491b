// What MirrorMaker 2's own client answers about a cluster, as JSON. Arguments: bootstrap addresses, the replication
// policy's class, its separator, a group (or "-"), and the aliases that are asked about.

import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.connect.mirror.MirrorClient;
import org.apache.kafka.connect.mirror.RemoteClusterUtils;

public class MirrorAnswers {
    private static final Duration TIMEOUT = Duration.ofSeconds(10);

    public static void main(String[] args) throws Exception {
        Map<String, Object> properties = new HashMap<>();
        properties.put("bootstrap.servers", args[0]);
        properties.put("replication.policy.class", "org.apache.kafka.connect.mirror." + args[1]);
        properties.put("replication.policy.separator", args[2]);
        String group = args[3];
        List<String> aliases = Arrays.asList(args).subList(4, args.length);
        List<String> answers = new ArrayList<>();
        try (MirrorClient client = new MirrorClient(properties)) {
            answers.add(list("upstreamClusters", client.upstreamClusters()));
            answers.add(list("heartbeatTopics", client.heartbeatTopics()));
            answers.add(list("checkpointTopics", client.checkpointTopics()));
            answers.add(list("remoteTopics", client.remoteTopics()));
            Map<String, String> hops = new TreeMap<>();
            for (String alias : aliases) {
                hops.put(alias, String.valueOf(client.replicationHops(alias)));
            }
            answers.add(object("replicationHops", hops));
            if (!group.equals("-")) {
                answers.add(object("remoteConsumerOffsets", offsets(client.remoteConsumerOffsets(group, aliases.get(0), TIMEOUT))));
                answers.add(object("translateOffsets",
                    offsets(RemoteClusterUtils.translateOffsets(properties, aliases.get(0), group, TIMEOUT))));
            }
        }
        System.out.println("{" + String.join(",", answers) + "}");
    }

    private static Map<String, String> offsets(Map<TopicPartition, OffsetAndMetadata> found) {
        Map<String, String> shown = new TreeMap<>();
        found.forEach((at, position) -> shown.put(at.toString(), String.valueOf(position.offset())));
        return shown;
    }

    private static String list(String name, Collection<String> values) {
        return "\"" + name + "\":[" + new TreeSet<>(values).stream().map(v -> "\"" + v + "\"").collect(Collectors.joining(",")) + "]";
    }

    private static String object(String name, Map<String, String> values) {
        return "\"" + name + "\":{" + values.entrySet().stream()
            .map(e -> "\"" + e.getKey() + "\":" + e.getValue()).collect(Collectors.joining(",")) + "}";
    }
}

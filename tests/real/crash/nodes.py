"""Three Apache Kafka nodes, each broker and controller: replication 3, two of which must have a record."""

import time

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from servers import KAFKA_JARS, KAFKA_PROPERTIES, KAFKA_VERSION, LOG4J, Kafka, Process, fetch, free_port

# Behind the properties of a single node: the last of two lines counts.
OF_THREE = """
node.id={node}
controller.quorum.bootstrap.servers={voters}
default.replication.factor=3
min.insync.replicas=2
offsets.topic.replication.factor=3
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
share.coordinator.state.topic.replication.factor=3
share.coordinator.state.topic.min.isr=2
"""


class Node(Kafka):
    def __init__(self, folder, number, ports):
        Process.__init__(self, f"kafka-{number}", folder)
        self.number, self.jars = number, fetch("kafka", KAFKA_VERSION, KAFKA_JARS)
        self.port, self.controller = ports[number]
        self.address, self.properties = f"127.0.0.1:{self.port}", folder / "server.properties"
        voters = ",".join(f"127.0.0.1:{controller}" for _, controller in ports.values())
        text = KAFKA_PROPERTIES.format(port=self.port, controller=self.controller, data=folder / "kafka-data",
                                       listeners="", advertised="")
        self.properties.write_text(text + OF_THREE.format(node=number, voters=voters))
        (folder / "log4j2.xml").write_text(LOG4J)

    def format(self, cluster, voters):
        self.tool("format", "--initial-controllers", voters, "-t", cluster, "-c", str(self.properties))


class Trio:
    """What `Kafka` is, of three nodes."""

    def __init__(self, folder):
        ports = {number: (free_port(), free_port()) for number in (1, 2, 3)}
        self.nodes = {number: Node(folder / f"node-{number}", number, ports) for number in ports}
        self.address = ",".join(node.address for node in self.nodes.values())
        first = self.nodes[1]
        cluster, *names = (first.tool("random-uuid").strip() for _ in range(4))
        voters = ",".join(f"{number}@127.0.0.1:{node.controller}:{name}"
                          for (number, node), name in zip(self.nodes.items(), names))
        for node in self.nodes.values():
            node.format(cluster, voters)
        self.admin = AdminClient({"bootstrap.servers": self.address, "log_level": 0})

    def begin(self):
        for node in self.nodes.values():
            node.begin()

    def ready(self):
        for node in self.nodes.values():
            node.ready()
        self.wait(lambda: len(self.admin.list_topics(timeout=5).brokers) == 3, 60, "three brokers")

    def stop(self):
        for node in self.nodes.values():
            node.kill()

    def leader(self, topic, partition):
        """The node that leads a partition."""
        return self.nodes[self.admin.list_topics(topic, timeout=10).topics[topic].partitions[partition].leader]

    def whole(self):
        """Whether every replica of every partition is in sync."""
        topics = self.admin.list_topics(timeout=5).topics
        return all(len(place.isrs) == len(place.replicas) for topic in topics.values() for place in topic.partitions.values())

    def wait(self, ready, seconds, what):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                if ready():
                    return
            except KafkaException:
                pass
            time.sleep(0.2)
        raise AssertionError(f"no {what} within {seconds} s")

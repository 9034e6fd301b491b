// Relay copies one topic record by record between two Kafka clusters, at least once: what a careful programmer gets
// from a good client library. It is the bench's second yardstick, and nothing else.
//
// Partition, key, value, headers and timestamp are kept. The producer compresses as the first record was. Positions are
// committed on the source, in a consumer group, only after the target has acknowledged; a second relay in the same group
// shares the partitions.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

type settings struct {
	source, target, topic, remote, group string
	linger                               time.Duration
}

func main() {
	var s settings
	flag.StringVar(&s.source, "source", "", "host:port of the source cluster")
	flag.StringVar(&s.target, "target", "", "host:port of the target cluster")
	flag.StringVar(&s.topic, "topic", "", "what to copy")
	flag.StringVar(&s.remote, "remote-topic", "", "its name on the target; created if it isn't there")
	flag.StringVar(&s.group, "group", "", "consumer group on the source")
	flag.DurationVar(&s.linger, "linger", 0, "how long a record may wait for others")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := relay(ctx, s); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "relay:", err)
		os.Exit(1)
	}
}

func relay(ctx context.Context, s settings) error {
	failed := make(chan error, 1) // the first error of any record; later ones follow from it
	var target *kgo.Client
	handOver := func(ctx context.Context, source *kgo.Client, _ map[string][]int32) {
		if target != nil { // polling is blocked meanwhile, so nobody else touches it
			if target.Flush(ctx) == nil {
				_ = source.CommitMarkedOffsets(ctx) // the next owner would only copy more twice
			}
		}
	}
	source, err := kgo.NewClient(
		kgo.SeedBrokers(s.source),
		kgo.ConsumeTopics(s.topic),
		kgo.ConsumerGroup(s.group),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxBytes(50<<20),
		kgo.FetchMaxPartitionBytes(4<<20),
		kgo.BlockRebalanceOnPoll(),
		kgo.AutoCommitMarks(),
		kgo.OnPartitionsRevoked(handOver),
	)
	if err != nil {
		return err
	}
	defer source.CloseAllowingRebalance()
	for {
		select {
		case err := <-failed:
			return err
		default:
		}
		fetches := source.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("fetch: %w", err)
		}
		if target == nil && fetches.NumRecords() > 0 {
			if target, err = prepare(ctx, s, source, fetches.Records()[0].Attrs.CompressionType()); err != nil {
				return err
			}
			defer target.Close()
		}
		fetches.EachRecord(func(record *kgo.Record) {
			copied := &kgo.Record{
				Topic: s.remote, Partition: record.Partition, Timestamp: record.Timestamp,
				Key: record.Key, Value: record.Value, Headers: record.Headers,
			}
			target.Produce(ctx, copied, func(_ *kgo.Record, err error) {
				if err == nil {
					source.MarkCommitRecords(record)
					return
				}
				select {
				case failed <- fmt.Errorf("produce to %s/%d: %w", s.remote, record.Partition, err):
				default:
				}
			})
		})
		source.AllowRebalance()
	}
}

// prepare opens the producer and creates the remote topic with as many partitions as the source's has.
func prepare(ctx context.Context, s settings, source *kgo.Client, compression uint8) (*kgo.Client, error) {
	codecs := []kgo.CompressionCodec{
		kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression(),
	}
	if int(compression) >= len(codecs) {
		return nil, fmt.Errorf("compression %d is unknown", compression)
	}
	target, err := kgo.NewClient(
		kgo.SeedBrokers(s.target),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(codecs[compression]),
		kgo.ProducerBatchMaxBytes(1_000_000),
		kgo.ProducerLinger(s.linger),
		kgo.MaxBufferedRecords(100_000),
		kgo.MaxBufferedBytes(64<<20),
	)
	if err != nil {
		return nil, err
	}
	if err := create(ctx, s, source, target); err != nil {
		target.Close()
		return nil, fmt.Errorf("create %s: %w", s.remote, err)
	}
	return target, nil
}

func create(ctx context.Context, s settings, source, target *kgo.Client) error {
	asked := kmsg.NewPtrMetadataRequest()
	wanted := kmsg.NewMetadataRequestTopic()
	wanted.Topic = kmsg.StringPtr(s.topic)
	asked.Topics = append(asked.Topics, wanted)
	known, err := asked.RequestWith(ctx, source)
	if err != nil {
		return err
	}
	if len(known.Topics) != 1 {
		return fmt.Errorf("%d topics in the answer to a question for one", len(known.Topics))
	}
	request := kmsg.NewPtrCreateTopicsRequest()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic = s.remote
	topic.NumPartitions = int32(len(known.Topics[0].Partitions))
	topic.ReplicationFactor = -1
	request.Topics = append(request.Topics, topic)
	answer, err := request.RequestWith(ctx, target)
	if err != nil {
		return err
	}
	for _, one := range answer.Topics {
		if err := kerr.ErrorForCode(one.ErrorCode); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return err
		}
	}
	return nil
}

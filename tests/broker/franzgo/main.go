// A franz-go client that runs one scenario against a broker and says what it saw, one line each.
//
//	franzgo BOOTSTRAP produce TOPIC COUNT      idempotent, lz4, spread over the partitions by key
//	franzgo BOOTSTRAP consume TOPIC GROUP COUNT  as a group of two members, committing at the end
//	franzgo BOOTSTRAP transact FROM TO GROUP COUNT  exactly-once: consume, produce and commit in transactions, every
//	                                            third one aborted and done again
//
// With GROUP_PROTOCOL=consumer in the environment, groups are consumer groups of KIP-848.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 45*time.Second)
	defer cancel()
	var err error
	switch bootstrap, args := os.Args[1], os.Args[3:]; os.Args[2] {
	case "produce":
		err = produce(ctx, bootstrap, args[0], number(args[1]))
	case "consume":
		err = consume(ctx, bootstrap, args[0], args[1], number(args[2]))
	case "transact":
		err = transact(ctx, bootstrap, args[0], args[1], args[2], number(args[3]))
	default:
		err = fmt.Errorf("unknown scenario %q", os.Args[2])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// groupProtocol is what franz-go wants to be told before it uses the new protocol.
func groupProtocol() kgo.Opt {
	ctx := context.Background()
	if os.Getenv("GROUP_PROTOCOL") == "consumer" {
		ctx = context.WithValue(ctx, "opt_in_kafka_next_gen_balancer_beta", true)
	}
	return kgo.WithContext(ctx)
}

func number(text string) int {
	value, err := strconv.Atoi(text)
	if err != nil {
		panic(err)
	}
	return value
}

func produce(ctx context.Context, bootstrap, topic string, count int) error {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(bootstrap, ",")...), kgo.ProducerBatchCompression(kgo.Lz4Compression()), kgo.ProducerLinger(time.Millisecond))
	if err != nil {
		return err
	}
	defer client.Close()
	records := make([]*kgo.Record, count)
	for i := range records {
		text := []byte(strconv.Itoa(i))
		records[i] = &kgo.Record{Topic: topic, Key: text, Value: text, Headers: []kgo.RecordHeader{{Key: "n", Value: text}}}
	}
	if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return fmt.Errorf("produce: %w", err)
	}
	fmt.Printf("produced %d\n", count)
	return nil
}

func consume(ctx context.Context, bootstrap, topic, group string, count int) error {
	ctx, done := context.WithCancel(ctx)
	defer done()
	var lock sync.Mutex
	var wait sync.WaitGroup
	seen := map[string]int{}
	partitions := make([]map[int32]bool, 2)
	var failure error
	for member := range partitions {
		partitions[member] = map[int32]bool{}
		client, err := kgo.NewClient(
			kgo.SeedBrokers(strings.Split(bootstrap, ",")...), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(), groupProtocol(),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(200*time.Millisecond),
			kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, assigned map[string][]int32) {
				lock.Lock()
				defer lock.Unlock()
				for _, partition := range assigned[topic] {
					partitions[member][partition] = true
				}
			}))
		if err != nil {
			return err
		}
		wait.Add(1)
		go func() {
			defer wait.Done()
			defer client.Close()
			for {
				fetches := client.PollFetches(ctx)
				if ctx.Err() != nil {
					if err := client.CommitUncommittedOffsets(context.Background()); err != nil {
						failure = fmt.Errorf("commit: %w", err)
					}
					return
				}
				lock.Lock()
				if err := fetches.Err(); err != nil {
					failure = fmt.Errorf("fetch: %w", err)
				}
				fetches.EachRecord(func(record *kgo.Record) { seen[string(record.Value)]++ })
				if (len(seen) >= count && len(partitions[0]) > 0 && len(partitions[1]) > 0) || failure != nil {
					done()
				}
				lock.Unlock()
			}
		}()
	}
	wait.Wait()
	if failure != nil {
		return failure
	}
	fmt.Printf("consumed %d distinct\n", len(seen))
	if len(partitions[0]) == 0 || len(partitions[1]) == 0 {
		return fmt.Errorf("the partitions were not shared: %v", partitions)
	}
	return nil
}

func transact(ctx context.Context, bootstrap, from, to, group string, count int) error {
	session, err := kgo.NewGroupTransactSession(
		kgo.SeedBrokers(strings.Split(bootstrap, ",")...), kgo.ConsumerGroup(group), kgo.ConsumeTopics(from), kgo.TransactionalID(group+"-t"),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxWait(200*time.Millisecond), kgo.RequireStableFetchOffsets(), groupProtocol())
	if err != nil {
		return err
	}
	defer session.Close()
	committed, transactions, aborted := 0, 0, 0
	for committed < count {
		fetches := session.PollRecords(ctx, 50)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("fetch: %w", err)
		}
		if fetches.NumRecords() == 0 {
			continue
		}
		if err := session.Begin(); err != nil {
			return fmt.Errorf("begin: %w", err)
		}
		promise := kgo.AbortingFirstErrPromise(session.Client())
		fetches.EachRecord(func(record *kgo.Record) {
			session.Produce(ctx, &kgo.Record{Topic: to, Key: record.Key, Value: record.Value}, promise.Promise())
		})
		transactions++
		wish := kgo.TransactionEndTry(promise.Err() == nil && transactions%3 != 0)
		ended, err := session.End(ctx, wish)
		if err != nil {
			return fmt.Errorf("end: %w", err)
		}
		if ended {
			committed += fetches.NumRecords()
		} else {
			aborted++
		}
	}
	fmt.Printf("committed %d, aborted some: %t\n", committed, aborted > 0)
	return nil
}

import CMews
import MewsCore

@c @implementation public func mews_blocking_begin() {
  // On an I/O thread another one has to go on with its connections before the handler may wait.
  IORunnerPool.handOver()
  CompletionPort.current?.blockingBegin()
}

@c @implementation public func mews_blocking_end() { CompletionPort.current?.blockingEnd() }

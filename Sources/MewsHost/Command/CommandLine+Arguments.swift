extension RunOptions {
  /// The options as arguments, the directory last.
  var arguments: [String] {
    var arguments = listen.map { "\(CommandOption.listen.rawValue)=\($0)" }
    arguments.append("\(CommandOption.io.rawValue)=\(ioBackend.rawValue)")
    if !ioWithout.isEmpty { arguments.append("\(CommandOption.ioWithout.rawValue)=\(ioWithout.list)") }
    if let ioThreads { arguments.append("\(CommandOption.ioThreads.rawValue)=\(ioThreads)") }
    if let workers { arguments.append("\(CommandOption.workers.rawValue)=\(workers)") }
    if let workersMax { arguments.append("\(CommandOption.workersMax.rawValue)=\(workersMax)") }
    arguments.append("\(CommandOption.listenSockets.rawValue)=\(listenSockets.rawValue)")
    if handlerTimeout > 0 { arguments.append("\(CommandOption.handlerTimeout.rawValue)=\(handlerTimeout)") }
    arguments += settings.map { "\(CommandOption.set.rawValue)=\($0.path)=\($0.value)" }
    if isStrict { arguments.append(CommandOption.strict.rawValue) }
    if !hasSupervisor { arguments.append(CommandOption.noSupervisor.rawValue) }
    arguments.append("\(CommandOption.execution.rawValue)=\(execution.rawValue)")
    arguments.append("\(CommandOption.logLevel.rawValue)=\(logLevel.name)")
    return arguments + ["--", directory]
  }
}

extension RoutesOptions {
  /// The options as arguments.
  var arguments: [String] { (wantsJSON ? ["--json"] : []) + (process.map { [String($0)] } ?? []) }
}

extension WorkerOptions {
  /// The options as arguments.
  var arguments: [String] {
    var arguments = listeners.map { listener in
      let descriptors = listener.descriptors.map(String.init).joined(separator: ",")
      return "\(CommandOption.inheritListener.rawValue)=\(descriptors)=\(listener.url)"
    }
    if let controlDescriptor { arguments.append("\(CommandOption.controlDescriptor.rawValue)=\(controlDescriptor)") }
    return arguments + ["\(CommandOption.processIndex.rawValue)=\(processIndex)"]
  }
}

#!/usr/bin/perl
# The application of the network tests: tells a client which replica answers and by which address it
# sees the client. Perl's own functions alone, so that the interpreter and the C library are all it needs.
#   answer serve [PORT]   HTTP with keep-alive and UDP on one port; SIGTERM ends it at once, with all
#                         connections, as an application without a graceful end does
#   answer check [PORT]   whether it serves, for health checks

my ($command, $port) = @ARGV;
$port ||= 80;
my ($INET, $STREAM, $DATAGRAM, $SOCKET_OPTIONS, $REUSE_ADDRESS) = (2, 1, 2, 1, 2);

sub address_of { my ($at, @bytes) = @_; pack 'S n C4 x8', $INET, $at, @bytes }
sub text_of { my (undef, $at, @bytes) = unpack 'S n C4', $_[0]; join('.', @bytes) . ":$at" }

sub check {
    socket my $client, $INET, $STREAM, 0 or die "socket: $!\n";
    alarm 5;
    connect $client, address_of($port, 127, 0, 0, 1) or die "connect: $!\n";
    syswrite $client, "GET / HTTP/1.1\r\n\r\n";
    sysread $client, my $answer, 1024 or die "no answer: $!\n";
    exit($answer =~ m{^HTTP/1.1 200} ? 0 : 1);
}

sub bound {
    my ($type) = @_;
    socket my $socket, $INET, $type, 0 or die "socket: $!\n";
    setsockopt $socket, $SOCKET_OPTIONS, $REUSE_ADDRESS, pack 'i', 1;
    bind $socket, address_of($port, 0, 0, 0, 0) or die "bind: $!\n";
    return $socket;
}

my ($tcp, $udp, $name, %clients);

sub accept_client {
    my $peer = accept my $socket, $tcp or return;
    $clients{ fileno $socket } = { socket => $socket, client => text_of($peer), text => '' };
}

sub answer_datagram {
    my $peer = recv $udp, my $question, 2048, 0;
    send $udp, "$question $name " . text_of($peer), 0, $peer if defined $peer;
}

sub answer_requests {
    my ($of) = @_;
    my $length = sysread $of->{socket}, $of->{text}, 65536, length $of->{text};
    return delete $clients{ fileno $of->{socket} } unless $length;
    while ($of->{text} =~ s/^.*?\r\n\r\n//s) {
        my $body = "$name $of->{client}\n";
        syswrite $of->{socket}, sprintf "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", length $body, $body;
    }
}

sub serve {
    $SIG{TERM} = sub { exit 0 };    # process 1 of a container has no default action
    $SIG{PIPE} = 'IGNORE';
    open my $file, '<', '/proc/sys/kernel/hostname' or die "hostname: $!\n";
    chomp($name = $ENV{NAME} || <$file>);
    ($tcp, $udp) = (bound($STREAM), bound($DATAGRAM));
    listen $tcp, 1024 or die "listen: $!\n";
    while (1) {
        my $wanted = '';
        vec($wanted, $_, 1) = 1 for fileno($tcp), fileno($udp), keys %clients;
        next if select(my $ready = $wanted, undef, undef, undef) <= 0;
        accept_client() if vec($ready, fileno($tcp), 1);
        answer_datagram() if vec($ready, fileno($udp), 1);
        answer_requests($_) for grep { vec($ready, fileno($_->{socket}), 1) } values %clients;
    }
}

$command eq 'check' ? check() : serve();

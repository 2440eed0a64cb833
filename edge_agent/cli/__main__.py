from edge_agent.cli.entry import main

main()
